"""What a manager and a worker say on the streams of a volume's copy.

For each half of a copy the manager opens two streams to the worker that has it (`OpenStream`): `CONTROL`, on which both
sides say lines of JSON, and then `DATA`, which carries the halves' own bytes. The first line of both is an `Order`;
then come the manager's `CopyCommand`s and the worker's `CopyEvent`s.
"""

from __future__ import annotations

from typing import Literal

import msgspec

CONTROL, DATA = "volume-control", "volume-data"
MAX_LINE = 64 * 1024


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Have the half `part` of a copy: of the volume `volume` with this lineage and, at the sender, this generation.

    `id` names the copy on this worker: both streams have the same.
    """

    id: str
    part: Literal["send", "receive"]
    volume: str
    data_id: str
    generation: int


class CopyCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`pass`, `last`, `stop` are the copying process's; `mark` writes the generation beside the receiver's data."""

    do: Literal["pass", "last", "stop", "mark"]
    generation: int = 0


class CopyEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened: `prepared` (the data stream is waited for), `ready`, `progress`, `passed`, `marked`, `failed`.

    `done`, `left`: bytes. `seconds`: until the pass ends. `next` (`pass`, `last`, `give-up`) and `rest`, the estimated
    seconds of the last pass, follow a pass; `digest` the last one. `code` and `message` are a `SwarmError`'s.
    """

    event: str
    done: int = 0
    left: int = 0
    seconds: float = 0.0
    next: str = ""
    rest: float = 0.0
    digest: str = ""
    code: str = ""
    message: str = ""

"""Messages about volumes: which ones a host has, and the control protocol of a copy, an archive or a clone.

For each half of a copy the manager opens two streams to the worker that has it (`OpenStream`): `CONTROL`, on which both
sides send lines of JSON, and then `DATA`, which carries the halves' own bytes. The first line of both is an `Order`;
then come the manager's `CopyCommand`s and the worker's `CopyEvent`s.

A volume's archive has the same two streams to its one worker. For `export` the worker sends the archive, and then
`archived`. For `import` the manager sends it, receives `archived`, and sends `mark`, which keeps the volume: without
that it is removed again.

A volume that is cloned on its own host has a `CONTROL` stream alone: both halves are the worker's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from common.aio.rate_limit import Rate, TokenBucket
from common.errors import ProtocolError, Unavailable, of_code
from common.wire.message import Message

CONTROL, DATA = "volume-control", "volume-data"
MAX_LINE = 64 * 1024
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
ID = re.compile(r"[a-z0-9]{1,64}")
PIECE = 1 << 16
# Reports of one half: it tells of its progress twice a second.
_REPORTS = Rate(burst=100, per_second=20)
# Beyond what any copy comes to; numbers are passed on to clients.
_Bytes: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**60)]
_Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Ends: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Have the half `part` of a copy: of the volume `volume` with this lineage and, at the sender, this generation.

    An archive that is exported has whatever data is there; one that is imported makes a volume with this lineage.

    `id` names the copy on this worker: both streams have the same. `clone`: of the volume makes another on the same
    host, `as_volume` with the lineage `as_data_id`. `limit`: bytes a second that a sender sends at most, 0: no limit.
    `resumes`: a last pass that another manager conducted; what it brought may have its new mark, and does not count.
    `task`: what is made is a snapshot for the task with this id, and goes with it.
    """

    id: str
    part: Literal["send", "receive", "export", "import", "clone"]
    volume: str
    data_id: str = ""
    generation: int = 0
    as_volume: str = ""
    as_data_id: str = ""
    limit: float = 0.0
    resumes: bool = False
    task: str = ""


class CopyCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`pass`, `last`, `verify`, `stop` are the copying process's; `mark` writes the generation beside it.

    `hold` of a last pass: the sender's worker pauses for it what writes to the volume.
    `remove`: the sender's worker removes the volume, which has been copied.
    """

    do: Literal["pass", "last", "verify", "stop", "mark", "remove"]
    generation: int = 0
    hold: bool = False


class CopyEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened: `prepared` (the data stream is waited for), `ready`, `progress`, `passed`, `marked`, `failed`.

    `archived`: the archive is whole. `verified`: what was written was read back. `removed`: the volume was.

    `done`, `left`: bytes. `seconds`: until the pass ends. `next` (`pass`, `last`, `give-up`) and `rest`, the estimated
    seconds of the last pass, follow a pass; `digest` the last one; `held`, how long programs were paused for
    it. `code` and `message` are a `SwarmError`'s.
    """

    event: str
    done: _Bytes = 0
    left: _Bytes = 0
    seconds: _Seconds = 0.0
    next: str = ""
    rest: _Seconds = 0.0
    digest: str = ""
    held: _Seconds = 0.0
    code: str = ""
    message: str = ""


_EVENT = msgspec.json.Decoder(CopyEvent)


class WorkerLost(Unavailable):
    """The worker that has a half of a copy, or the connection to it, is gone."""


class CopyControl:
    """The manager's end of a control stream. A worker that reports without end is read slowly.

    `node` is the name of the worker's node, which all errors begin with.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, node: str) -> None:
        self._node = node
        self._reader = reader
        self._writer = writer
        self._rest = b""
        self._allowed = TokenBucket(_REPORTS, asyncio.get_running_loop().time())

    def tell(self, command: CopyCommand) -> None:
        self._writer.write(msgspec.json.encode(command) + b"\n")

    async def event(self) -> CopyEvent:
        """Wait for the next event.

        Raises:
            WorkerLost: the worker, or the connection to it, is gone.
            SwarmError: it has failed, in its worker's words.

        """
        while b"\n" not in self._rest:
            if len(self._rest) > MAX_LINE:
                raise ProtocolError(f"node {self._node}: its worker sent a line that is too long")
            try:
                data = await self._reader.read(PIECE)
            except OSError as error:
                raise WorkerLost(f"node {self._node}: the connection to its worker broke: {error}") from error
            if not data:
                raise WorkerLost(f"node {self._node}: its worker, or the connection to it, is gone")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        if pause := self._allowed.spend(1.0, asyncio.get_running_loop().time()):
            await asyncio.sleep(pause)
        try:
            event = _EVENT.decode(line)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ProtocolError(f"node {self._node}: its worker sent a malformed report of a copy") from error
        if event.event == "failed":
            raise of_code(event.code, f"node {self._node}: {event.message}")
        return event

    async def wait_for(self, *events: str, tell: Callable[[CopyEvent], None] = lambda _: None) -> CopyEvent:
        while (event := await self.event()).event not in events:
            tell(event)
        return event


def begin(ends: Ends, order: Order) -> Ends:
    """Say on a stream that was just opened what it is for."""
    ends[1].write(msgspec.json.encode(order) + b"\n")
    return ends


# Of a host with more volumes, the rest is not kept in the store: its own engine still shows them.
MOST_VOLUMES = 2000
# And as many bytes of them, as msgpack, which is a kilobyte each: labels and options come from anybody.
MOST_BYTES = 2 * 1024 * 1024
# A volume gets one with each move, and comes to no such number by that.
MOST_GENERATIONS = 2**31


class SeenVolume(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named volume as its engine has it, with the mark beside its data (`Volume`): empty where it can have none.

    `scope` is the engine's word, `local` or `global`; `size` in bytes, -1 where it was not measured.
    """

    name: str
    data_id: str = ""
    generation: int = 0
    driver: str = "local"
    scope: str = "local"
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    size: int = -1


class ReportVolumes(Message):
    """Say which volumes there are, now and whenever that changes, until the session ends.

    Said to workers whose description says that they know it. Only to who says this a worker reports volumes.
    """

    KIND: ClassVar[int] = 91


class VolumeReport(Message):
    """All named volumes of a host, those of its tasks first; with `more`, the list goes on in the next report.

    `cut`: there are more than `MOST_VOLUMES` or `MOST_BYTES`, of which nothing is said. Not confirmed.
    """

    KIND: ClassVar[int] = 90
    volumes: tuple[SeenVolume, ...] = ()
    more: bool = False
    cut: bool = False

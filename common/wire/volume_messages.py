"""Messages about the named volumes of hosts: which a host has, and whose data is in them."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from common.wire.message import Message

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

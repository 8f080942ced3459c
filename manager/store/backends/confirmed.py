"""The last confirmed position of the store, in a file beside it, which shows whether confirmed changes were lost.

SQLite silently treats a write-ahead log that is cut, damaged or missing as one that ends there. So the position of a
commit is written here before the commit is confirmed to its caller. Two slots with checksums are written in turn, so
that an interrupted write leaves the previous one intact.

Nothing is lost if the process dies. The file is synced at most once a second: after a power failure it may be that far
behind the log, and is never ahead of it.
"""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from zlib import crc32

import msgspec
from msgspec import Meta

# A block for each slot, so that no write touches the other slot's block.
_SLOT_BYTES = 4096
_SLOT = struct.Struct(">8sQQqd")
_CHECK = struct.Struct(">I")
_MAGIC = b"swarmpos"
_SYNC_SECONDS = 1.0
# The year 5138: a time from a damaged file must be one that can be formatted.
_NO_TIME = 1e11

_log = logging.getLogger(__name__)


class Position(msgspec.Struct, frozen=True, array_like=True):
    """What a store holds: its last version index, and number and checksum of its objects.

    `checksum` is the sum of all rows' digests, as a signed number of 64 bits; `time` is when the last commit was made,
    in Unix seconds.
    """

    index: Annotated[int, Meta(ge=0)] = 0
    count: Annotated[int, Meta(ge=0)] = 0
    checksum: int = 0
    time: Annotated[float, Meta(ge=0, lt=_NO_TIME)] = 0.0


class ConfirmedFile:
    """The file beside the store at `store`. `open` first, `close` last."""

    def __init__(self, store: Path) -> None:
        self._path = confirmed_path(store)
        self._descriptor: int | None = None
        self._slot = 0
        self._synced_at = 0.0
        self._failed = False

    def open(self, position: Position) -> None:
        """Open the file, created with mode 0600 if missing, and write a position, synced to disk.

        Raises:
            OSError: it cannot be written.

        """
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.posix_fallocate(self._descriptor, 0, 2 * _SLOT_BYTES)  # so that later writes do not need space
        self._slot = _newest_slot(_slots(os.pread(self._descriptor, 2 * _SLOT_BYTES, 0)))
        self._write(self._descriptor, position)
        self._sync(self._descriptor)

    def note(self, position: Position) -> None:
        """Write the position of a commit. A failure is only logged: the commit itself is durable."""
        assert self._descriptor is not None, "open() comes first"
        try:
            self._write(self._descriptor, position)
            if time.monotonic() - self._synced_at >= _SYNC_SECONDS:
                self._sync(self._descriptor)
        except OSError as error:
            if not self._failed:
                _log.error(
                    "%s cannot be written (%s): changes are stored, but if the store's log were damaged now, it "
                    "would go unnoticed: check its disk",
                    self._path,
                    error.strerror,
                )
            self._failed = True
        else:
            self._failed = False

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, descriptor: int, position: Position) -> None:
        self._slot = 1 - self._slot
        os.pwrite(descriptor, _pack_position(position), self._slot * _SLOT_BYTES)

    def _sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)
        self._synced_at = time.monotonic()


def confirmed_path(store: Path) -> Path:
    """Return the path of a store's file: beside it, with the same prefix as the store's own files."""
    return store.with_name(f"{store.name}-confirmed")


def read_confirmed(store: Path) -> Position | None:
    """Return the last position; None if the file is missing, or neither slot is valid.

    Raises:
        OSError: the file exists and cannot be read.

    """
    try:
        content = confirmed_path(store).read_bytes()
    except FileNotFoundError:
        return None
    slots = _slots(content)
    return slots[_newest_slot(slots)]


def _slots(content: bytes) -> list[Position | None]:
    return [_unpack_position(content[at : at + _SLOT.size + _CHECK.size]) for at in (0, _SLOT_BYTES)]


def _newest_slot(slots: Sequence[Position | None]) -> int:
    return max(range(len(slots)), key=lambda number: found.index if (found := slots[number]) is not None else -1)


def _pack_position(position: Position) -> bytes:
    slot = _SLOT.pack(_MAGIC, *msgspec.structs.astuple(position))
    return slot + _CHECK.pack(crc32(slot))


def _unpack_position(content: bytes) -> Position | None:
    slot, check = content[: _SLOT.size], content[_SLOT.size :]
    if len(check) != _CHECK.size or _CHECK.unpack(check) != (crc32(slot),):
        return None
    magic, *fields = _SLOT.unpack(slot)
    return Position(*fields) if magic == _MAGIC else None

"""The audit log's file: JSON lines, 0600, moved aside when it has grown, written by a thread.

Nobody waits for it, and no request fails with it (docs/adr/0008-the-audit-log-does-not-stop-the-api.md): what
cannot be written goes to the manager's own log, loudly.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from common.text.terminal import visible
from manager.api.access.audit import Entry

_LOG = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024 * 1024
KEPT = 4
CAPACITY = 10_000


class AuditFile:
    """`record` takes entries, `run` writes them; `kept` older files of about `max_bytes` are `PATH.1` and so on.

    `unwritten` is told how many entries the file lacks.
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int = MAX_BYTES,
        kept: int = KEPT,
        *,
        unwritten: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._count_unwritten = unwritten
        self._waiting: deque[bytes] = deque()
        self._filled = asyncio.Event()

    def record(self, entry: Entry) -> None:
        """Take an entry; past `CAPACITY` that wait for the disk it goes to the manager's log instead."""
        line = visible(msgspec.json.encode(entry).decode()).encode() + b"\n"
        if len(self._waiting) >= CAPACITY:
            self._unwritten("the disk is too slow", [line])
            return
        self._waiting.append(line)
        self._filled.set()

    def read(self, before: str, limit: int, *, changes: bool) -> list[Entry]:
        """Read the newest entries, as `AuditLog` says. It takes a while."""
        found: list[Entry] = []
        for path in (self._path, *(self._numbered(number) for number in range(1, self._kept + 1))):
            for entry in _newest_first(path):
                if (not before or entry.time < before) and not (changes and entry.is_read):
                    found.append(entry)
                if len(found) == limit:
                    return found
        return found

    async def run(self) -> None:
        """Write until cancelled; what was taken before that is written."""
        writing: asyncio.Future[None] | None = None
        try:
            while True:
                await self._filled.wait()
                writing = asyncio.ensure_future(asyncio.to_thread(self._write, self._take()))
                await asyncio.shield(writing)
        finally:
            if writing is not None:
                await writing
            self._write(self._take())

    def _unwritten(self, why: str, lines: Sequence[bytes]) -> None:
        self._count_unwritten(len(lines))
        _LOG.error("the audit log is not complete: %s; what is missing there:", why)
        for line in lines:
            _LOG.error("audit: %s", line.decode().rstrip())

    def _take(self) -> list[bytes]:
        self._filled.clear()
        lines = list(self._waiting)
        self._waiting.clear()
        return lines

    def _write(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        try:
            self._append(b"".join(lines))
        except OSError as error:
            self._unwritten(f"cannot write {self._path}: {error.strerror}", lines)

    def _append(self, data: bytes) -> None:
        with suppress(FileNotFoundError):
            if self._path.stat().st_size + len(data) > self._max_bytes:
                self._move_aside()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(data)

    def _move_aside(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _newest_first(path: Path) -> Iterator[Entry]:
    """Yield the entries of a file that is there; a line that is not whole is passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines):
        with suppress(msgspec.DecodeError):
            yield msgspec.json.decode(line, type=Entry)

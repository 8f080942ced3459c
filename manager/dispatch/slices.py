"""What one node reports, written a little at a time: however much that is, all others' writes go on between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

# Entries of a node in one transaction, and how long there is none for it then.
SLICE = 100
PAUSE_SECONDS = 0.020
MAX_WAITING = 8


@dataclass(slots=True)
class _Report(Generic[T]):
    """What of a report is not yet written, and what is done when all is."""

    entries: Sequence[T]
    done: Callable[[], Awaitable[None]]


class SlicedWrites(Generic[T]):
    """Writes one node's reports in order. `write` returns when the entries are durable."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: deque[_Report[T]] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    async def put(self, entries: Sequence[T], done: Callable[[], Awaitable[None]]) -> None:
        """Hand in a report; wait while too many are before it."""
        while len(self._waiting) >= MAX_WAITING:
            self._changed.clear()
            await self._changed.wait()
        self._waiting.append(_Report(entries, done))
        self._changed.set()

    def close(self) -> None:
        """Have `run` end when what was handed in is written."""
        self._closed = True
        self._changed.set()

    async def run(self) -> None:
        """Write until closed; errors as `write` and `done`."""
        while True:
            while not self._waiting:
                if self._closed:
                    return
                self._changed.clear()
                await self._changed.wait()
            entries, finished = self._next()
            if entries:
                await self._write(entries)
            for report in finished:
                await report.done()
            if entries:
                await asyncio.sleep(PAUSE_SECONDS)

    def _next(self) -> tuple[list[T], list[_Report[T]]]:
        """Take a slice off the front, and the reports that end with it."""
        entries: list[T] = []
        finished = []
        while self._waiting and len(entries) + len(self._waiting[0].entries) <= SLICE:
            report = self._waiting.popleft()
            entries += report.entries
            finished.append(report)
        if self._waiting and len(entries) < SLICE:
            first = self._waiting[0]
            room = SLICE - len(entries)
            entries += first.entries[:room]
            first.entries = first.entries[room:]
        self._changed.set()
        return entries, finished

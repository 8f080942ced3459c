"""What workers report of their tasks, on its way to the store: states only go forward.

What one node reports is written a little at a time: however much that is, the writes of all others go on between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from common.aio.first import first_of
from common.model import Task, TaskStatus
from common.wire.messages import TaskReport
from manager.dispatch.assignments import roles_of
from manager.store.observation import observe
from manager.store.transaction import Transaction
from manager.store.view import View


@dataclass(frozen=True, slots=True)
class NodeReports:
    """The validated part of a `StatusReport` (`manager.dispatch.intake`), and the node that sent it."""

    node_id: str
    tasks: tuple[TaskReport, ...]


def changes_endpoints(view: View, reports: Iterable[TaskReport]) -> bool:
    """Whether any of these changes what other nodes know of a task that goes on as it was."""
    return any(_retells(view.tasks.get(report.task_id), report.status) for report in reports)


def _retells(task: Task | None, status: TaskStatus) -> bool:
    if task is None or status.state is not task.status.state:
        return False
    told = roles_of(task)
    return any(told) and told != roles_of(msgspec.structs.replace(task, status=status))


def apply_reports(tx: Transaction, batch: Sequence[NodeReports]) -> None:
    """Write the reports that are news."""
    for reports in batch:
        for report in reports.tasks:
            task = tx.tasks.get(report.task_id)
            if task is None or task.node_id != reports.node_id:
                continue  # its record went while the report was on its way
            changed = observe(task, report.status, tx.now)
            if changed is not None:
                tx.put(changed)


T = TypeVar("T")

# Entries of a node in one transaction, and the seconds until its next one.
SLICE = 100
PAUSE_SECONDS = 0.020
MAX_WAITING = 8


@dataclass(slots=True)
class _Report(Generic[T]):
    """What of a report is not yet written, and what is done when all is."""

    entries: Sequence[T]
    done: Callable[[], Awaitable[None]]


class NewestWrites(Generic[T]):
    """Writes the newest report of a node, at most every `seconds`.

    `write` returns when it is durable.
    """

    def __init__(self, write: Callable[[T], Awaitable[None]], seconds: float) -> None:
        self._write = write
        self._seconds = seconds
        self._newest: T | None = None
        # How many were handed in, and how many of these are written, or overtaken by what is.
        self._told = self._written = 0
        self._changed = asyncio.Event()
        self._progress = asyncio.Condition()
        self._closed = asyncio.Event()

    def put(self, value: T) -> None:
        """Hand in what counts from now on."""
        self._newest = value
        self._told += 1
        self._changed.set()

    async def written(self) -> None:
        """Wait until what was handed in last by now is written, or what came after it."""
        told = self._told
        async with self._progress:
            await self._progress.wait_for(lambda: self._written >= told)

    def close(self) -> None:
        """Have `run` end when what was handed in last is written."""
        self._closed.set()
        self._changed.set()

    async def run(self) -> None:
        """Write until closed; errors as `write`."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            told, newest = self._told, self._newest
            if newest is not None and self._written < told:
                await self._write(newest)
                async with self._progress:
                    self._written = told
                    self._progress.notify_all()
            if self._closed.is_set() and self._written == self._told:
                return
            await first_of(self._closed.wait(), within=self._seconds)


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

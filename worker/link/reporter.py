"""Task states on their way to the manager: the newest of each task, kept until the manager has confirmed it."""

from __future__ import annotations

import asyncio
import contextlib

from msgspec import structs

from common.model.task import TaskState, TaskStatus
from common.wire.allowances import ENTRIES_BYTES, LONGEST_ERROR, LONGEST_MESSAGE, fitting, size_of
from common.wire.messages import TaskReport

# How long a state on the way to running waits for others to join its batch: most are soon followed by the next one.
BATCH_SECONDS = 0.05
# Bytes that a list has before its entries, with its name.
_HEADER = 16


class Reporter:
    """Collects states; a session takes them in batches, numbered, and confirms or loses them."""

    def __init__(self) -> None:
        self._waiting: dict[str, TaskReport] = {}
        self._sent: dict[int, dict[str, TaskReport]] = {}
        self._number = 0
        self._any = asyncio.Event()

    def update(self, task_id: str, status: TaskStatus) -> None:
        self._waiting[task_id] = _sendable(TaskReport(task_id=task_id, status=status))
        self._any.set()

    def forget(self, task_id: str) -> None:
        """Report a task no more: the manager has dropped it."""
        self._waiting.pop(task_id, None)
        for batch in self._sent.values():
            batch.pop(task_id, None)

    async def take(self) -> tuple[int, tuple[TaskReport, ...]]:
        """Wait for states, and return a batch with the number that its confirmation will carry."""
        while not self._waiting:
            await self._news()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BATCH_SECONDS):
                while not any(map(_urgent, self._waiting.values())):
                    await self._news()
        batch = fitting(self._waiting.values())
        self._number += 1
        self._sent[self._number] = {report.task_id: self._waiting.pop(report.task_id) for report in batch}
        return self._number, batch

    async def _news(self) -> None:
        self._any.clear()
        await self._any.wait()

    def confirmed(self, number: int) -> None:
        self._sent.pop(number, None)

    def lost(self) -> None:
        """Send again what the session that ended had not confirmed, unless there is newer."""
        for number in sorted(self._sent, reverse=True):
            for task_id, report in self._sent[number].items():
                self._waiting.setdefault(task_id, report)
        self._sent.clear()
        if self._waiting:
            self._any.set()

    @property
    def unconfirmed(self) -> frozenset[str]:
        """The tasks whose last state the manager has not confirmed."""
        return frozenset(self._waiting).union(*self._sent.values())


def _urgent(report: TaskReport) -> bool:
    """Whether the manager may have to act on it: a task that is ready may be what another task's stop waits for."""
    state = report.status.state
    return state is TaskState.READY or state >= TaskState.RUNNING or bool(report.status.err)


def _sendable(report: TaskReport) -> TaskReport:
    """Cut what is too long to be sent: texts, and of more ports than a message has room for the last."""
    status = report.status
    message, err = status.message[:LONGEST_MESSAGE], status.err[:LONGEST_ERROR]
    if (message, err) != (status.message, status.err):
        report = structs.replace(report, status=structs.replace(status, message=message, err=err))
    if size_of(report) > ENTRIES_BYTES:
        room = ENTRIES_BYTES - size_of(structs.replace(report, status=structs.replace(report.status, ports=())))
        ports = fitting(status.ports, room - _HEADER)
        report = structs.replace(report, status=structs.replace(report.status, ports=ports))
    return report

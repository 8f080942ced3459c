"""Task states on their way to the manager: the newest of each task, kept until the manager has confirmed it.

Of each task a host says each new state, and what is done or waited for in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from msgspec import structs

from common.clock import Clock
from common.model.task import ContainerStatus, Task, TaskState, TaskStatus
from common.wire.allowances import ENTRIES_BYTES, LONGEST_ERROR, LONGEST_MESSAGE, fitting, size_of
from common.wire.messages import TaskReport
from worker.interfaces.engine import Container, Phase
from worker.interfaces.networks import Attachment
from worker.tasks.plan.machine import Situation, Step

# So long a state on the way to running waits for company: most are soon followed by the next, and by other tasks'.
COMPANY_SECONDS = 0.05
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
            async with asyncio.timeout(COMPANY_SECONDS):
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
    """Whether the manager may have something to do about it: one that is ready may be what another's end waits for."""
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


_log = logging.getLogger(__name__)


class StatusReports:
    """The status of one task as it was reported last, and how it is reported anew."""

    def __init__(self, task: Task, report: Callable[[str, TaskStatus], None], clock: Clock) -> None:
        self.last = task.status
        self._name = task.name
        self._task_id = task.id
        self._report = report
        self._clock = clock

    def enter(self, step: Step, now: Situation, attachment: Attachment | None) -> bool:
        """Report a step's state if that, or what is said in it, is new; return whether the task has advanced."""
        assert step.state >= now.state, f"task {self._task_id} moved back from {now.state} to {step.state}"
        advanced = step.state > now.state
        said = (self.last.message, self.last.err, self.last.renewed, self.last.refused)
        if advanced or (step.message and (step.message, step.err, now.renewed, now.refused) != said):
            self._tell(self._status(step, now, attachment))
            _log.log(_level(step), "task %s: %s %s", self._name, step.state.name.lower(), step.err or step.message)
        return advanced

    def say(self, message: str, err: str, now: Situation, attachment: Attachment | None) -> None:
        """Report what is being done in the present state, or what keeps it from being done."""
        if (message, err) == (self.last.message, self.last.err):
            return
        status = self._status(Step(now.state, message, err), now, attachment)
        same = self.last.state is status.state
        self._tell(structs.replace(status, timestamp=self.last.timestamp) if same else status)

    def _tell(self, status: TaskStatus) -> None:
        self.last = status
        self._report(self._task_id, status)

    def _status(self, step: Step, now: Situation, attachment: Attachment | None) -> TaskStatus:
        container, addresses = now.container, self.last.addresses
        if attachment is not None and container is not None:
            addresses = attachment.status_addresses()
        return TaskStatus(
            timestamp=self._clock.now(),
            state=step.state,
            message=step.message,
            err=step.err,
            container_status=_container_status(container) if container else self.last.container_status,
            ports=container.ports if container else (),
            addresses=addresses,
            hostname=(container.hostname if container else "") or self.last.hostname,
            renewed=now.renewed,
            refused=now.refused,
        )


def _level(step: Step) -> int:
    """Choose how loud a new state is: its way up is of interest to nobody but who looks for a fault."""
    if step.err:
        return logging.WARNING
    return logging.INFO if step.state >= TaskState.RUNNING else logging.DEBUG


def _container_status(container: Container) -> ContainerStatus:
    pid = container.pid if container.phase is Phase.RUNNING else 0
    return ContainerStatus(container_id=container.id, pid=pid, exit_code=container.exit_code)

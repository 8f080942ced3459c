"""What a host says of one task: each new state, and what is done or waited for in it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec import structs

from common.clock import Clock
from common.model.task import ContainerStatus, Task, TaskState, TaskStatus
from worker.interfaces import Attachment, Container, Phase
from worker.tasks.plan.machine import Situation, Step

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

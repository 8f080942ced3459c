"""What is known of one task on this host, shared by its runner, its actions, and the watch over its container."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import structs

from common.model.task import Task, TaskState, TaskStatus
from worker.interfaces import Attachment, Container
from worker.link.status_reports import StatusReports
from worker.tasks import slow_call
from worker.tasks.plan.machine import Contact, Situation, Step
from worker.tasks.runner_context import RunnerContext

_log = logging.getLogger(__name__)


class TaskRun:
    """A task, its situation, and what was said of it.

    now: changed with `note`.
    attachment: what its container has of the networks, once that is known.
    woken: set when the situation may ask for another step.
    """

    def __init__(
        self,
        task: Task,
        context: RunnerContext,
        report: Callable[[str, TaskStatus], None],
        *,
        contact: Contact,
        container: Container | None,
        looked: bool,
    ) -> None:
        self.task = task
        self.context = context
        self.attachment: Attachment | None = None
        self.woken = asyncio.Event()
        self.now = Situation(
            state=max(task.status.state, TaskState.ASSIGNED),
            contact=contact,
            container=container,
            attempted=not looked,
            renewed=task.status.renewed,
            refused=task.status.refused,
            refusal=task.status.err if task.refused else "",
        )
        self._reports = StatusReports(task, report, context.clock)

    @property
    def status(self) -> TaskStatus:
        """What was reported last."""
        return self._reports.last

    @property
    def wanted(self) -> bool:
        """Whether the task is to run, or to complete."""
        return self.task.desired_state <= TaskState.COMPLETE

    def note(self, **what: Any) -> None:
        """Take note of what has changed of the situation."""
        self.now = structs.replace(self.now, **what)

    async def wait(self, wake_at: float | None) -> None:
        """Wait until something has changed, or until an instant (Unix seconds) at the latest."""
        try:
            async with asyncio.timeout(None if wake_at is None else max(0.0, wake_at - self.context.clock.now())):
                await self.woken.wait()
        except TimeoutError:
            return  # it is time for the next step

    # --- what is said -------------------------------------------------------------------------------------------------

    def enter(self, step: Step) -> bool:
        """Report a step's state if it is new; return whether the task has advanced."""
        advanced = self._reports.enter(step, self.now, self.attachment)
        if advanced:
            self.note(state=step.state)
        return advanced

    def say(self, message: str, err: str = "") -> None:
        """Report what is being done in the present state, or what keeps it from being done."""
        self._reports.say(message, err, self.now, self.attachment)

    def say_waits(self, why: str) -> None:
        """Report that the task waits for the engine; why one has ended stays what it is."""
        if not self.now.state.terminal:
            self.say("waits for the engine", why)

    @contextmanager
    def telling_when_slow(self, after: float, tell: Callable[[float], None]) -> Iterator[None]:
        """Have `tell` report it, with the seconds taken, when the block takes longer; then what was said before."""
        before = self.status
        with slow_call.tell_when_slow(tell, after):
            yield
        if self.status is not before:
            self.say(before.message, before.err)

    @contextmanager
    def patiently(self, doing: str, after: float = slow_call.LATE_SECONDS) -> Iterator[None]:
        """Report it when the block, which has the engine do something with the container, takes long."""

        def tell(taken: float) -> None:
            why = slow_call.not_done(doing, taken, self.task)
            _log.warning("task %s: %s", self.task.name, why)
            self.say_waits(why)

        with self.telling_when_slow(after, tell):
            yield

"""One task's owner: asks the task machine for the next step, has it carried out, reports the state.

A `TaskRunner` is one coroutine from assignment to removal. Nothing else touches its container. What comes from outside
(a changed task, events, the engine's return) changes what it knows and wakes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec import structs

from common.aio.steady import PAUSE_SECONDS
from common.errors import SwarmError
from common.model.task import Task, TaskState, TaskStatus
from worker.interfaces.engine import Container, ContainerEvent, EngineDown, EngineSilent
from worker.tasks import task_run
from worker.tasks.actions import RETRY_SECONDS, Actions
from worker.tasks.container_watch import ContainerWatch
from worker.tasks.plan import machine
from worker.tasks.plan.machine import Contact, Step
from worker.tasks.runner_context import RunnerContext
from worker.tasks.task_run import Renewals, TaskRun

_log = logging.getLogger(__name__)


class TaskRunner:
    """Runs one task.

    container: the task's container when it is known to exist.
    looked: whether `container` (or its absence) is certain; if not, the engine is asked first.
    """

    def __init__(
        self,
        task: Task,
        context: RunnerContext,
        report: Callable[[str, TaskStatus], None],
        *,
        contact: Contact,
        container: Container | None = None,
        looked: bool = False,
    ) -> None:
        self._run = TaskRun(task, context, report, contact=contact, container=container, looked=looked)
        renewals = Renewals(context.files, context.engine)
        self._watch = ContainerWatch(self._run, renewals, stale=not looked or container is not None)
        self._actions = Actions(self._run, self._watch, renewals)
        self._unusable = ""

    @property
    def task(self) -> Task:
        return self._run.task

    @property
    def status(self) -> TaskStatus:
        """What was reported last."""
        return self._run.status

    # --- what others tell it ------------------------------------------------------------------------------------------

    def update(self, task: Task) -> None:
        """Take the manager's newest word on the task; its own status is not changed by that."""
        if task is not self.task:
            self._run.task = task
            self._run.woken.set()

    def forget(self) -> None:
        """Remove all of it: the manager does not know the task any more."""
        if self.task.desired_state < TaskState.REMOVE:
            self.update(structs.replace(self.task, desired_state=TaskState.REMOVE))

    def set_contact(self, contact: Contact) -> None:
        if contact is not self._run.now.contact:
            self._run.note(contact=contact)
            self._run.woken.set()

    def wake(self) -> None:
        """Step again: something that all runners share has changed."""
        self._run.woken.set()

    def check(self, listed: Container | None) -> None:
        """Compare with the engine's list of containers."""
        self._watch.check(listed)

    def observe(self, event: ContainerEvent) -> None:
        self._watch.observe(event)

    # --- its life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Return when nothing of the task is left."""
        run = self._run
        while True:
            run.woken.clear()
            try:
                if self._watch.stale:
                    await self._watch.look()
                await self._watch.listen()
                step = await run.context.with_log_tail_of(run.task, run.now, self._step())
                advanced = run.enter(step)
                self._unusable = ""
                if step.done:
                    return
                if step.action is not None:
                    await self._actions.perform(step.action)
                elif not advanced:
                    await run.wait(step.wake_at)
            except SwarmError as error:
                await self._wait_for_engine(error)
            except Exception:  # noqa: BLE001 - a bug that one task meets must not end the care for all others
                _log.exception("task %s: unexpected error: trying again later", run.task.name)
                self._watch.stale = True
                await run.wait(run.context.clock.now() + PAUSE_SECONDS)

    def _step(self) -> Step:
        run, materials = self._run, self._run.context.materials
        needs_files = run.now.state <= TaskState.PREPARING or machine.has_outdated_files(run.task, run.now)
        run.note(missing=materials.missing(run.task) if needs_files else ())
        return machine.step(run.task, run.now, run.context.clock.now())

    async def _wait_for_engine(self, error: SwarmError) -> None:
        """Wait a moment for an engine that is away, or refuses to speak of this container; other runners go on."""
        run = self._run
        why = error.message + (task_run.where_to_look(run.task) if isinstance(error, EngineSilent) else "")
        if why != self._unusable:  # it may be so for days
            level = logging.INFO if isinstance(error, EngineDown) else logging.WARNING
            _log.log(level, "task %s waits for the engine: %s", run.task.name, why)
            self._unusable = why
        if run.now.state < TaskState.RUNNING or not run.wanted:
            run.say_waiting(why)
        self._watch.stale = True
        await run.wait(run.context.clock.now() + RETRY_SECONDS)

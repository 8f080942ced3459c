"""All tasks of this host: one runner each, fed with assignments and with what the engine says.

On start it lists the containers that are ours and adopts those that have a task, so an agent's restart or upgrade
touches none. Containers without a task are strays: they are stopped and removed, but only once a manager has said what
is assigned, for until then nobody can tell them from tasks that we forgot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing

from common.errors import SwarmError
from common.model.task import Task, TaskState, TaskStatus
from common.text.image_names import pinned_digest
from worker.interfaces.engine import LABEL_AGENT, Container, ContainerEvent, EngineConnected, EngineEvent, EngineLost
from worker.tasks.plan.machine import Contact
from worker.tasks.runner import TaskRunner
from worker.tasks.runner_context import RunnerContext

# What no event told of is found by the next listing: a container that a call made which was not waited for any more.
RELIST_SECONDS = 600.0

_log = logging.getLogger(__name__)


class Supervisor:
    """Owns the runners. `run` must be running for anything to happen; cancelling it touches no container.

    `report` hears every new state of a task; `on_engine` that the engine is there, or is not.
    """

    def __init__(
        self,
        context: RunnerContext,
        report: Callable[[str, TaskStatus], None],
        on_engine: Callable[[EngineConnected | EngineLost], None],
    ) -> None:
        self._context = context
        self._report = report
        self._on_engine = on_engine
        self._runners: dict[str, TaskRunner] = {}
        self._known: Mapping[str, Task] = {}
        # Tasks of which nothing is left, until the manager drops their records.
        self._finished: dict[str, TaskStatus] = {}
        self._contact = Contact.LOST
        self._listed = False
        self._complete = False
        self._unclaimed: dict[str, Container] = {}
        self._sweeping: set[str] = set()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for runner in self._runners.values():
                self._start(runner)
            group.create_task(self._relist(), name="list containers")
            async with aclosing(self._context.engine.events(self._labels)) as events:
                async for event in events:
                    await self._take(event)

    @property
    def tasks(self) -> Mapping[str, TaskStatus]:
        """The tasks that are on this host, and the last state of each."""
        return {task_id: runner.status for task_id, runner in self._runners.items()}

    @property
    def to_run(self) -> Mapping[str, TaskStatus]:
        """Those that are to run now: without what has ended and is kept for its logs, or only prepared."""
        return {key: each.status for key, each in self._runners.items() if each.task.desired_state is TaskState.RUNNING}

    @property
    def images(self) -> frozenset[str]:
        """The ids of images that tasks on this host are pinned to."""
        specs = (runner.task.spec.container_spec for runner in self._runners.values())
        return frozenset(pinned_digest(spec.image) for spec in specs if spec is not None)

    def apply(self, tasks: Mapping[str, Task], *, complete: bool) -> None:
        """Take the tasks of an assignment set; what is not among them goes.

        `complete`: this is what a manager says, not what the host remembers.
        """
        self._finished = {task_id: status for task_id, status in self._finished.items() if task_id in tasks}
        for task in tasks.values():
            if task is self._known.get(task.id):
                continue
            status = self._update(task)
            if status.state > task.status.state:
                # The manager has not heard, or has lost, what it was told.
                self._report(task.id, status)
        for task_id, runner in self._runners.items():
            if task_id not in tasks:
                runner.forget()
        self._known = tasks
        if complete:
            self._complete = True
            self._sweep()

    def set_contact(self, contact: Contact) -> None:
        """Tell all runners whether somebody can decide about tasks that end."""
        self._contact = contact
        for runner in self._runners.values():
            runner.set_contact(contact)

    def wake(self) -> None:
        """Have every runner look again at what they share."""
        for runner in self._runners.values():
            runner.wake()

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _labels(self) -> Mapping[str, str]:
        return {LABEL_AGENT: self._context.node_id}

    def _update(self, task: Task) -> TaskStatus:
        """Give a task to its runner, and return its last state here."""
        if finished := self._finished.get(task.id):
            return finished
        runner = self._runners.get(task.id)
        if runner is None:
            runner = self._add(task)
        else:
            runner.update(task)
        return runner.status

    def _add(self, task: Task) -> TaskRunner:
        container = self._unclaimed.pop(task.id, None)
        runner = TaskRunner(
            task, self._context, self._report, contact=self._contact, container=container, looked=self._listed
        )
        self._runners[task.id] = runner
        if self._group is not None:
            self._start(runner)
        return runner

    def _start(self, runner: TaskRunner) -> None:
        assert self._group is not None, "runners run inside of run()"
        self._group.create_task(self._live(runner), name=f"task {runner.task.name}")

    async def _live(self, runner: TaskRunner) -> None:
        await runner.run()
        del self._runners[runner.task.id]
        self._finished[runner.task.id] = runner.status

    async def _take(self, event: EngineEvent) -> None:
        match event:
            case EngineConnected():
                self._on_engine(event)
                await self._list()
            case EngineLost():
                self._on_engine(event)
            case ContainerEvent():
                if runner := self._runners.get(event.task_id):
                    runner.observe(event)

    async def _relist(self) -> None:
        while True:
            await asyncio.sleep(RELIST_SECONDS)
            if self._listed:
                await self._list()

    async def _list(self) -> None:
        try:
            containers = await self._context.engine.containers(self._labels)
        except SwarmError as error:
            _log.warning("cannot list the engine's containers: %s", error.message)
            return  # it is going down again, and is listed when it comes back
        found = {container.task_id: container for container in containers}
        for task_id, runner in self._runners.items():
            runner.check(found.pop(task_id, None))
        self._unclaimed = found
        self._listed = True
        self._sweep()

    def _sweep(self) -> None:
        """Remove containers and files that belong to no task."""
        if not self._complete or self._group is None:
            return
        strays, self._unclaimed = self._unclaimed, {}
        for container in strays.values():
            if container.id not in self._sweeping:
                self._sweeping.add(container.id)
                self._group.create_task(self._remove_stray(container), name=f"stray {container.id[:12]}")
        for task_id in self._context.files.tasks():
            if task_id not in self._runners:
                self._context.files.remove(task_id)

    async def _remove_stray(self, container: Container) -> None:
        """Stop and remove a container that no task claims; the next listing tries again what fails here."""
        _log.warning("container %s of task %s is not assigned: stopping it", container.id[:12], container.task_id)
        try:
            await self._context.engine.stop(container.id, None)
            await self._context.engine.remove(container.id)
            await self._context.networks.release(container.task_id)
        except SwarmError as error:
            _log.warning("cannot remove stray container %s: %s", container.id[:12], error.message)
        finally:
            self._sweeping.discard(container.id)


def live(statuses: Mapping[str, TaskStatus]) -> int:
    """Count the tasks that run."""
    return sum(status.state is TaskState.RUNNING for status in statuses.values())

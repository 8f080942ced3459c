"""What all runners of a worker share."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace

from common.clock import Clock
from common.errors import SwarmError
from common.model.container import ContainerSpec
from common.model.node import NodeDescription
from common.model.task import Task, TaskState
from common.spec import task_templates
from common.spec.slot_volumes import has_snapshots
from worker.engine.call_limiter import EngineCallLimiter
from worker.images.ensure import Images
from worker.interfaces.engine import Container, Engine, EngineDown, Phase
from worker.interfaces.files import TaskFile, TaskFiles
from worker.interfaces.networks import Networks
from worker.interfaces.volumes import Snapshots, VolumeGuard, VolumeKeeper
from worker.tasks.plan import container_spec
from worker.tasks.plan.files import Materials, task_files
from worker.tasks.plan.log_tail import log_tail_lines, with_log_tail
from worker.tasks.plan.machine import Situation, Step

LOG_TAIL_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RunnerContext:
    """What runners work with, shared by all of one worker."""

    node_id: str
    engine: Engine
    images: Images
    networks: Networks
    files: TaskFiles
    clock: Clock
    limiter: EngineCallLimiter
    node: NodeDescription = field(default_factory=NodeDescription)
    materials: Materials = field(default_factory=Materials)
    volumes: VolumeGuard | None = None
    snapshots: Snapshots | None = None
    keeper: VolumeKeeper | None = None

    async def check_volumes(self, task: Task) -> None:
        """Look whether the task finds its data here; errors as `VolumeGuard.check` and `expanded`."""
        if self.volumes is not None:
            await self.volumes.check(task, self.expanded(task))

    async def with_snapshots(self, task: Task, spec: ContainerSpec) -> ContainerSpec:
        """Return a task's specification with its snapshots mounted; errors as `Snapshots.mounted`."""
        return await self.snapshots.mounted(task, spec) if self.snapshots is not None else spec

    async def remove_snapshots(self, task: Task) -> None:
        """Remove a task's snapshots, as `Snapshots.remove`."""
        if self.snapshots is not None and has_snapshots(task):
            await self.snapshots.remove(task, self.expanded(task))

    async def remove_container(self, task: Task, container: Container | None) -> None:
        """Remove a task's container; its anonymous volumes are kept for a while, where that can be."""
        if container is None:
            await self.engine.remove(task.name)
            return
        owner = f"{task.service_name}.{task.slot or self.node_id}"
        kept = self.keeper is not None and await self.keeper.keep(owner, container)
        await self.engine.remove(container.id, volumes=not kept)

    def note_volumes(self) -> None:
        """Take note that the engine may have made volumes."""
        if self.volumes is not None:
            self.volumes.look_soon()

    def expanded(self, task: Task) -> ContainerSpec:
        """Return the task's container specification with its templates expanded.

        Raises:
            EngineDown: nobody knows yet what host this is, and templates may ask.
            TemplateError: a template is wrong.

        """
        if not self.node.hostname:
            raise EngineDown("the engine has not described this host yet, which templates may need")
        return container_spec.expand_templates(task, self.node_id, self.node)

    def files_of(self, task: Task, expanded: ContainerSpec) -> tuple[TaskFile, ...]:
        """Return the secrets and configs that the task's container gets, as `task_files` does."""
        return task_files(expanded, self.materials, task_templates.context(task, self.node_id, self.node))

    async def with_log_tail_of(self, task: Task, now: Situation, step: Step) -> Step:
        """Add to the error of a failed container what it, or its health check, said last, if its engine can tell."""
        container, lines = now.container, log_tail_lines(task)
        failed = step.state is TaskState.FAILED and step.state > now.state
        if not (failed and lines and container and container.phase is Phase.EXITED):
            return step
        if container.health == "unhealthy":
            return replace(step, err=with_log_tail(step.err, container.health_said.encode(), lines))
        if not container.exit_code:
            return step
        return replace(step, err=with_log_tail(step.err, await self._last_logs(task, container, lines), lines))

    async def _last_logs(self, task: Task, container: Container, lines: int) -> bytes:
        try:
            async with asyncio.timeout(LOG_TAIL_SECONDS):
                return await self.engine.last_logs(container.id, lines)
        except TimeoutError:
            _log.info("task %s: the end of its log did not come within %.0f s", task.name, LOG_TAIL_SECONDS)
        except SwarmError as error:
            _log.info("task %s: the end of its log cannot be read: %s", task.name, error)
        return b""

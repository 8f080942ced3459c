"""What all runners of a worker share."""

from __future__ import annotations

from dataclasses import dataclass

from common import tasktemplates
from common.clock import Clock
from common.model.container import ContainerSpec
from common.model.node import NodeDescription
from common.model.task import Task
from worker import containerspec
from worker.gate import EngineGate
from worker.images import Images
from worker.ports import Engine, EngineDown, Networks, TaskFile, TaskFiles
from worker.taskfiles import Materials, task_files


@dataclass(slots=True)
class Hands:
    """What runners work with, shared by all of one worker."""

    node_id: str
    engine: Engine
    images: Images
    networks: Networks
    files: TaskFiles
    clock: Clock
    gate: EngineGate
    node: NodeDescription
    materials: Materials

    def expanded(self, task: Task) -> ContainerSpec:
        """Return the task's container specification with its templates expanded.

        Raises:
            EngineDown: nobody knows yet what host this is, and templates may ask.
            TemplateError: a template is wrong.

        """
        if not self.node.hostname:
            raise EngineDown("it has not said yet what host this is, and templates may ask")
        return containerspec.expanded(task, self.node_id, self.node)

    def files_of(self, task: Task, expanded: ContainerSpec) -> tuple[TaskFile, ...]:
        """Return the secrets and configs that the task's container gets, as `taskfiles.task_files` does."""
        return task_files(expanded, self.materials, tasktemplates.context(task, self.node_id, self.node))

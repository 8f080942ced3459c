"""What a node's state means for the tasks on it."""

from __future__ import annotations

import enum

from common.model import Node, Task
from manager.store.view import View


class NodeAvailability(enum.Enum):
    """What a node is to tasks.

    OPEN takes new tasks and keeps its own. KEEPING keeps its own only (paused, or not heard from yet). DRAINED is to
    be emptied, and still reports. LOST is down or gone: what it runs is unknown.
    """

    OPEN = "open"
    KEEPING = "keeping"
    DRAINED = "drained"
    LOST = "lost"


# Nodes that their tasks may stay on.
KEEPS_TASKS = frozenset((NodeAvailability.OPEN, NodeAvailability.KEEPING))


def availability_of(node: Node | None) -> NodeAvailability:
    if node is None or not node.agent or node.status.state == "down":
        return NodeAvailability.LOST
    if node.spec.availability == "drain":
        return NodeAvailability.DRAINED
    if node.spec.availability == "pause" or node.status.state != "ready":
        return NodeAvailability.KEEPING
    return NodeAvailability.OPEN


class NodeAvailabilities:
    """The availability of nodes, looked up once for each node and decision."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[str, NodeAvailability] = {"": NodeAvailability.OPEN}

    def of(self, task: Task) -> NodeAvailability:
        """Return the availability of a task's node; OPEN for a task that has no node yet."""
        found = self._known.get(task.node_id)
        if found is None:
            found = self._known[task.node_id] = availability_of(self._view.nodes.get(task.node_id))
        return found

    def lost(self, task: Task) -> bool:
        return self.of(task) is NodeAvailability.LOST

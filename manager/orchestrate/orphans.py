"""Tasks whose node will not report any more: removed, left, or down for a day. They are given up as orphaned."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from common.model import Node, Task, TaskState
from manager.orchestrate.reconcile.service_context import Draft
from manager.store.changes import Decision
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random

# As long as SwarmKit waits for a node that is down (`manager/dispatcher`).
PATIENCE = 24 * 3600.0


def decide(view: View, keys: Collection[str], now: float, _rng: Random) -> Decision:
    """Decide the nodes whose ids are `keys`."""
    draft = Draft()
    for node_id in keys:
        node = view.nodes.get(node_id)
        if not node_id or (node is not None and not node.left and node.status.state != "down"):
            continue
        due = _due(node)
        if due > now or draft.full:
            draft.wake(node_id, max(due, now))
            continue
        _give_up(view, node_id, node, draft, now)
    return draft.decision()


def _due(node: Node | None) -> float:
    """Return when a node's tasks are given up. Nothing changes on a node that is down, unless an operator does it."""
    return 0.0 if node is None or node.left else node.updated_at + PATIENCE


def _give_up(view: View, node_id: str, node: Node | None, draft: Draft, now: float) -> None:
    if node is None:
        why = "its node was removed from the cluster"
    else:
        why = "its node's worker has left the cluster" if node.left else "its node has been down for a day"
    for task in view.tasks.on_node(node_id):
        if task.status.state.terminal:
            continue
        if draft.full:
            draft.wake(node_id, now)
            return
        draft.put(_orphan(task, why, now))
        draft.reason(f"task {task.name} is orphaned: {why}")


def _orphan(task: Task, why: str, now: float) -> Task:
    status = msgspec.structs.replace(task.status, timestamp=now, state=TaskState.ORPHANED, message="orphaned", err=why)
    return msgspec.structs.replace(task, status=status)

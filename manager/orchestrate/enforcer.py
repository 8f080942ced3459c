"""What a node may keep: after its labels or resources change, tasks that no longer fit are shut down."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from common.model import Node, Task, TaskState
from common.spec.constraints import unmet
from manager.domain.reservations import Available, reservations_of
from manager.orchestrate.node_availability import NodeAvailability, standing
from manager.orchestrate.reconcile.service_context import Draft
from manager.orchestrate.reconcile.slots import age
from manager.store.changes import Decision
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random


def decide(view: View, keys: Collection[str], now: float, _rng: Random) -> Decision:
    """Decide the nodes whose ids are `keys`: shut down what does not fit any more, the newest where room is short.

    Its service then gives the slot a task elsewhere (swarmkit `orchestrator/constraintenforcer`).
    """
    draft = Draft()
    for node_id in keys:
        if draft.full:
            draft.wake(node_id, now)
            continue
        node = view.nodes.get(node_id)
        if node is not None and standing(node) in (NodeAvailability.OPEN, NodeAvailability.KEEPING):
            _enforce(view, node, draft, now)
    return draft.decision()


def _enforce(view: View, node: Node, draft: Draft, now: float) -> None:
    tasks = view.tasks.on_node(node.id)
    leaving = [task for task in tasks if task.placed and not task.live]
    available = Available.of(node, leaving)
    for task in sorted((task for task in tasks if task.live and task.placed), key=age):
        problem = _problem(view, node, task, available)
        if problem:
            _shut_down(task, problem, draft, now)
        else:
            available.take(task)


def _problem(view: View, node: Node, task: Task, available: Available) -> str:
    """Say why a task may not stay, or nothing.

    A constraint must be broken both as the task was made and as its service says now: what only the new specification
    forbids is changed by its rolling update, in its pace.
    """
    broken = unmet(task.spec.placement, node)
    service = view.services.get(task.service_id)
    if broken and service is not None:
        broken = unmet(service.spec.task_template.placement, node)
    if broken:
        return f"assigned node no longer meets constraints: {broken}"
    short = available.lacking(reservations_of(task))
    return f"assigned node no longer has the {short} that the task reserves" if short else ""


def _shut_down(task: Task, problem: str, draft: Draft, now: float) -> None:
    status = msgspec.structs.replace(
        task.status, timestamp=now, message="shut down by the constraint enforcer", err=problem
    )
    draft.put(msgspec.structs.replace(task, desired_state=TaskState.SHUTDOWN, status=status))
    draft.reason(f"task {task.name} is shut down on node {task.node_id}: {problem}")

"""Tasks that a node may not keep, tasks of lost nodes, and records that are too old. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from common.model import Node, Task, TaskState
from common.spec.constraints import unmet
from manager.domain import executions
from manager.domain.reservations import Available, reservations_of
from manager.orchestrate.node_availability import NodeAvailability, availability_of
from manager.orchestrate.reconcile.slots import Slot, age
from manager.store.changes import Decision, Draft
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random

# Seconds until a down node's tasks are orphaned, as in SwarmKit (`manager/dispatcher`).
ORPHAN_SECONDS = 24 * 3600.0


def give_up_orphans(view: View, keys: Collection[str], now: float, _rng: Random) -> Decision:
    """Orphan the tasks of those of the nodes `keys` (ids) that are gone or have been down for a day."""
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
    """Return when a node's tasks are orphaned. A node that is down changes only if an operator changes it."""
    return 0.0 if node is None or node.left else node.updated_at + ORPHAN_SECONDS


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


def slot_key(task: Task) -> str:
    """Return the key of a task's slot for `reap_records`."""
    return f"{task.service_id}/{task.slot}/{'' if task.slot else task.node_id}"


def reap_records(view: View, keys: Collection[str], now: float, _rng: Random) -> Decision:
    """Remove the old records of the slots that `keys` name (see `slot_key`)."""
    draft = Draft()
    cluster = next(iter(view.clusters), None)
    limit = cluster.spec.orchestration.task_history_retention_limit if cluster is not None else -1
    for key in keys:
        if draft.full:
            draft.wake(key, now)
            continue
        service_id, number, node_id = key.split("/")
        tasks = view.tasks.in_slot(service_id, int(number), node_id)
        if tasks:
            _reap(view, Slot(tasks), limit, draft)
    return draft.decision()


def _reap(view: View, slot: Slot, limit: int, draft: Draft) -> None:
    """Remove records of tasks that left, then the oldest ended ones down to `limit` records (below 0: all stay).

    The newest record always stays, of a job that of each execution under way: it tells whether the slot is to be
    filled again.
    """
    for task in slot.leaving:
        if not task.placed or view.nodes.get(task.node_id) is None:
            draft.remove(task)
    excess = len(slot.tasks) - limit if limit >= 0 else 0
    newest = _newest(view, slot) if excess > 0 else ()
    for task in slot.tasks[:-1]:
        if excess > 0 and task.desired_state > TaskState.RUNNING and not task.placed and task.id not in newest:
            draft.remove(task)
            excess -= 1


def _newest(view: View, slot: Slot) -> Collection[str]:
    """Name the newest task of each of a job's executions under way."""
    service = view.services.get(slot.newest.service_id)
    if service is None or service.job_status is None:
        return ()
    alive = executions.executions_under_way(service)
    newest = {task.job_iteration.index: task.id for task in slot.tasks if task.job_iteration is not None}
    return {task_id for index, task_id in newest.items() if index in alive}


def enforce(view: View, keys: Collection[str], now: float, _rng: Random) -> Decision:
    """Shut down what no longer fits on the nodes `keys` (ids); where resources are short, the newest tasks.

    Its service then gives the slot a task elsewhere (swarmkit `orchestrator/constraintenforcer`).
    """
    draft = Draft()
    for node_id in keys:
        if draft.full:
            draft.wake(node_id, now)
            continue
        node = view.nodes.get(node_id)
        if node is not None and availability_of(node) in (NodeAvailability.OPEN, NodeAvailability.KEEPING):
            _enforce(view, node, draft, now)
    return draft.decision()


def _enforce(view: View, node: Node, draft: Draft, now: float) -> None:
    tasks = view.tasks.on_node(node.id)
    leaving = [task for task in tasks if task.placed and not task.live]
    available = Available.of(node, leaving)
    for task in sorted((task for task in tasks if task.live and task.placed), key=age):
        problem = _reason_to_leave(view, node, task, available)
        if problem:
            _shut_down(task, problem, draft, now)
        else:
            available.take(task)


def _reason_to_leave(view: View, node: Node, task: Task, available: Available) -> str:
    """Return why a task may not stay, or an empty text.

    A constraint must be broken in the task's own specification and in its service's present one: what only the new one
    forbids is changed by the rolling update, at its pace.
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

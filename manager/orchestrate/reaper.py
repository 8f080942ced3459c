"""Which task records go: those that are to be removed and have stopped, and history past the cluster's limit."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from common.model import Task, TaskState
from manager.domain import executions
from manager.orchestrate.reconcile.service_context import Draft
from manager.orchestrate.reconcile.slots import Slot
from manager.store.changes import Decision
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random


def slot_key(task: Task) -> str:
    """Name a task's slot; `decide` reads it."""
    return f"{task.service_id}/{task.slot}/{'' if task.slot else task.node_id}"


def decide(view: View, keys: Collection[str], now: float, _rng: Random) -> Decision:
    """Decide the slots that `keys` name (see `slot_key`)."""
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
    """Remove what left, then the oldest of what ended until at most `limit` records stay (below 0: all stay).

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
    alive = executions.under_way(service)
    newest = {task.job_iteration.index: task.id for task in slot.tasks if task.job_iteration is not None}
    return {task_id for index, task_id in newest.items() if index in alive}

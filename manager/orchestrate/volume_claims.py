"""Claims of slots to the volumes of their tasks: bound when an engine has the volume.

The scheduler makes claims with its placements. This binds them once a task's container is created, and makes those of
tasks that were placed before there were claims: they keep running, and their slots keep their data from then on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from common.model import Task
from common.spec.slot_volumes import slot_volumes
from manager.domain import volume_claims as claims
from manager.store.changes import Change, Decision, Draft
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random


def concerned_tasks(change: Change, _view: View) -> Iterable[str]:
    """Name a task whose engine has made its volumes just now."""
    old, new = change.old, change.new
    if not isinstance(new, Task) or not claims.has_made_volumes(new) or not slot_volumes(new):
        return ()
    made_before = isinstance(old, Task) and claims.has_made_volumes(old)
    return () if made_before else (new.id,)


def all_tasks(view: View) -> Iterable[str]:
    """Name all tasks with volumes that hold their slots."""
    return [task.id for task in view.tasks if task.live and task.node_id and slot_volumes(task)]


def decide(view: View, keys: Collection[str], now: float, _rng: Random) -> Decision:
    """Decide the tasks whose ids are `keys`."""
    draft = Draft()
    for task_id in keys:
        task = view.tasks.get(task_id)
        if task is None:
            continue
        if draft.full:
            draft.wake(task_id, now)
            continue
        for claim in claims.claims_of(task, view):
            draft.put(claim)
    return draft.decision()

"""Snapshots of volumes whose tasks stop for them: made before the task that mounts one is given to its node. Pure.

Only the manager can stop tasks, so it starts the copy, and the worker finds the snapshot in place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from random import Random

from msgspec.structs import replace

from common.errors import FailedPrecondition
from common.ids import new_id
from common.model import Task, TaskState, Transfer
from common.model.volume import volume_id
from common.spec.slot_volumes import snapshot_name, stopped_sources
from manager.domain.transfers import check, lineage_of_copy
from manager.domain.volume_claims import Claims
from manager.domain.volumes import Only, has_snapshot, place_of_data, snapshot_copies
from manager.store.changes import Change, Decision, Draft
from manager.store.view import View

# How long until a failed copy is tried again.
RETRY_SECONDS = 60.0
# How often a task without a place is decided again: its volumes, or their nodes, may have appeared.
LOOK_AGAIN = 5.0


def concerned_tasks(change: Change, _view: View) -> Iterable[str]:
    """Name the task that waits for a snapshot, or whose snapshot was made or has failed."""
    if isinstance(change.new, Task):
        return (change.new.id,) if _waits(change.new) else ()
    transfer = change.current
    return (transfer.task,) if isinstance(transfer, Transfer) and transfer.task and not transfer.active else ()


def waiting_tasks(view: View) -> Iterable[str]:
    return [task.id for task in view.tasks if _waits(task)]


def _waits(task: Task) -> bool:
    """Whether a task is to be placed now, and mounts a snapshot that is made before."""
    pending = task.status.state is TaskState.PENDING and task.desired_state is TaskState.RUNNING
    container = task.spec.container_spec
    # Each leader looks at every task first: hardly any that waits mounts something.
    return pending and container is not None and bool(container.mounts) and bool(stopped_sources(task))


def decide(view: View, keys: Collection[str], now: float, rng: Random) -> Decision:
    """Begin to make the snapshots of the tasks whose ids are `keys`."""
    draft, claims = Draft(), Claims(view)
    for task in filter(None, map(view.tasks.get, keys)):
        if draft.full:
            draft.wake(task.id, now)
        elif _waits(task):
            place = place_of_data(task, claims)
            if isinstance(place, Only):
                for transfer in _missing(task, place.node_id, view, now, rng):
                    draft.put(transfer)
            draft.wake(task.id, now + LOOK_AGAIN)
    return draft.decision()


def _missing(task: Task, node_id: str, view: View, now: float, rng: Random) -> Iterator[Transfer]:
    """Yield the copies that are to begin, and those that cannot, which say why."""
    for name in stopped_sources(task):
        tried = snapshot_copies(task, name, view)
        failed = [each for each in tried if each.phase == "failed"]
        early = any(each.updated_at + RETRY_SECONDS > now for each in failed)
        if early or has_snapshot(task, name, node_id, view) or any(each.active for each in tried):
            continue
        as_name = snapshot_name(task.id, name)
        copy = Transfer(
            id=new_id(rng),
            operation="copy",
            volumes=(name,),
            source=node_id,
            target=node_id,
            as_name=as_name,
            data_id=lineage_of_copy(view.volumes.get(volume_id(node_id, as_name)), rng),
            hold="stop",
            task=task.id,
        )
        try:
            check(copy, view)
        except FailedPrecondition as error:
            before = next((each for each in failed if not each.stopped_at), copy)
            copy = replace(before, phase="failed", error=error.message)
        yield copy

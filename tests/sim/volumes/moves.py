"""What must hold of moves of volumes, seen in each commit: which one counts, and what none may do."""

from __future__ import annotations

from collections.abc import Iterator

from common.model import Task, Transfer, Volume, VolumeClaim
from common.model.volume import volume_id
from common.spec.slot_volumes import slot_volumes
from common.spec.volumes import POLICY_LABEL
from manager.domain.volume_claims import data_node
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.sim.placement import Complaint


def unmoved(view: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Complain of data that changes its place by other than a move's commit, and of a commit that is not one.

    view: as it is after the changes.
    """
    committed = []
    for change in changes.changes:
        old, new = change.old, change.new
        if isinstance(new, Transfer):
            was = old.phase if isinstance(old, Transfer) else ""
            if (was, new.phase) not in _STEPS:
                yield f"the move of {new.name} goes from {was or 'nothing'} to {new.phase}", ()
            if new.phase == "done" and new.operation == "copy":
                yield from _copied(view, new)
            elif new.phase == "done":
                committed.append(new)
                yield from _committed(view, new)
        elif isinstance(old, Volume) and isinstance(new, Volume):
            if old.data_id == new.data_id and new.generation < old.generation and not old.missing_since:
                yield f"{new.id} goes from generation {old.generation} to {new.generation}", ()
        elif isinstance(old, Task) and isinstance(new, Task):
            yield from _told_to_leave(view, old, new)
    for change in changes.changes:
        old, new = change.old, change.new
        if not (isinstance(old, VolumeClaim) and isinstance(new, VolumeClaim)) or old.node_id == new.node_id:
            continue
        if old.bound and not _may_go(old, new, committed, view):
            yield (
                f"the data of {old.holder} in {old.volume} goes from {old.node_id} to {new.node_id} without a move",
                (),
            )


def is_in_last_pass(view: View, task: Task) -> bool:
    """Whether a task's data is in the pass of a move in which nobody may write."""
    names = {each.name for each in slot_volumes(task)}
    return any(
        move.phase == "last" and move.source == task.node_id and names.intersection(move.volumes)
        for move in view.transfers
    )


def _told_to_leave(view: View, old: Task, new: Task) -> Iterator[Complaint]:
    if new.moving_to and not old.moving_to and data_node(new, view):
        yield f"{new.id} is to go to {new.moving_to}, and its data is on {new.node_id}", (new,)


_STEPS = {
    ("", "copying"),
    ("", "failed"),  # no node can take it, which is said
    ("failed", "failed"),  # and still none can
    ("copying", "last"),
    ("copying", "failed"),
    ("last", "last"),  # by the next manager, which begins its passes anew
    ("last", "failed"),
    ("last", "done"),
}


def _copied(view: View, copy: Transfer) -> Iterator[Complaint]:
    made = view.volumes.get(volume_id(copy.target, copy.as_name))
    if made is None or made.data_id != copy.data_id or not made.generation:
        yield f"{copy.name} is copied to {made}", ()
    if any(claim.volume == copy.as_name for claim in view.volume_claims):
        yield f"{copy.as_name} is a copy, and a slot has a claim to it", ()
    if copy.hold == "stop":
        for task in view.tasks.on_node(copy.source):
            if task.placed and any(each.name == copy.name for each in slot_volumes(task)):
                yield f"{copy.name} is copied from under {task.id}, which may write to it", (task,)


def _committed(view: View, move: Transfer) -> Iterator[Complaint]:
    for name in move.volumes:
        source, target = (view.volumes.get(volume_id(node_id, name)) for node_id in (move.source, move.target))
        if source is None or target is None or target.data_id != source.data_id or target.role:
            yield f"{name} is moved from {source} to {target}", ()
        elif target.generation <= source.generation:
            yield f"{name} is moved, and its generation goes from {source.generation} to {target.generation}", ()
        left = [claim.holder for claim in view.volume_claims.named(name) if claim.node_id == move.source]
        if left:
            yield f"{name} is moved, and {', '.join(left)} has data at the source", ()
        here = {(each.service, each.slot) for each in view.volume_claims.named(name) if each.node_id == move.target}
        parted = [each.id for each in view.volume_claims.on_node(move.source) if (each.service, each.slot) in here]
        if parted:
            yield f"{name} is moved, and {', '.join(parted)} is not", ()
        for task in view.tasks.on_node(move.source):
            if task.placed and any(each.name == name for each in slot_volumes(task)):
                yield f"{name} is moved from under {task.id}, which may write to it", (task,)


def _may_go(old: VolumeClaim, new: VolumeClaim, committed: list[Transfer], view: View) -> bool:
    """Whether a claim goes with a move's commit, or is left behind as its service's policy has it."""
    if any(
        (old.node_id, new.node_id) == (move.source, move.target) and old.volume in move.volumes for move in committed
    ):
        return True
    services = view.services.named(old.service)
    return any(service.spec.labels.get(POLICY_LABEL) == "fresh" for service in services)

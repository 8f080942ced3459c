"""Reconciles one slot: it is to hold exactly one task that is wanted, fits, and is as the service says.

While one task replaces another a slot holds two: the incumbent, which serves, and the challenger, which takes over once
it runs. What has ended is history; the restart policy says whether it gets a successor.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from common.model import Task, TaskState
from common.model.task import RestartRecord
from common.model.update import StopsFirst
from common.spec.constraints import unmet
from manager.domain.reservations import Available, reservations_of
from manager.domain.update_status import remark
from manager.orchestrate.node_availability import KEEPS_TASKS, NodeAvailability, availability_of
from manager.orchestrate.reconcile import restart
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slots import Slot
from manager.orchestrate.update import canary

# How long a drained node's task goes on while its replacement finds no place.
DRAIN_PATIENCE = 30.0


class Phase(enum.Enum):
    """What a slot needs that only a limited number of slots get at once: an update, a drain, a move."""

    SETTLED = "settled"
    DIRTY = "dirty"
    DRAINING = "draining"
    MOVING = "moving"
    LEAVING = "leaving"


def reconcile_slot(context: ServiceContext, slot: Slot) -> Phase:
    """Do at once what a slot needs, and return what it needs when it is its turn."""
    live = slot.live
    for task in slot.tasks:
        if task.status.state.terminal:
            context.stop(task)  # it is history now, which housekeeping may remove
    if len(live) > 1:
        return _reconcile_several(context, slot)
    if live:
        return _reconcile_one(context, slot, live[0])
    return _reconcile_none(context, slot)


def next_record(context: ServiceContext, slot: Slot, *, kept: bool = False) -> RestartRecord | None:
    """Return the restart record for a slot's next task, or None when it is not to have one.

    A new specification starts fresh, and so does a slot that was only moved or stopped; a failure counts. A task that
    could not take its new files is one of the specification before. `kept`: the next task is made like the last one,
    whatever the service says now.
    """
    last = slot.newest
    if not kept and (last.spec_version != context.service.spec_version or last.refused):
        return RestartRecord()
    if last.ended_by_itself:
        return restart.record_after(last, context.now, context.rng)
    return restart.moved_record(last)


def successor(context: ServiceContext, slot: Slot) -> RestartRecord | None:
    """Return the record for the next task of a slot in which none is live, or None if its policy allows no other."""
    last = slot.newest
    if last.ended_by_itself:
        return restart.record_after(last, context.now, context.rng)
    return restart.moved_record(last) if restart.is_movable(last) else None


def _reconcile_none(context: ServiceContext, slot: Slot) -> Phase:
    """Reconcile a slot without a live task: create the next one, if the last one's restart policy says so."""
    last = slot.newest
    record = successor(context, slot)
    if record is None:
        return Phase.SETTLED if context.clean(last) else Phase.DIRTY
    ended = last.ended_by_itself
    if last.spec_version != context.service.spec_version and not canary.leaves_out(context, slot):
        completed = last.status.state is TaskState.COMPLETE  # its delay is the pace of what it does, no back-off
        record = RestartRecord(not_before=record.not_before if completed else 0.0)
    if ended and not context.lost(last):
        _log_restart(context, last, record)
    else:
        record = restart.moved_record(last)
    context.create_successor(slot, record)
    return Phase.SETTLED


def _log_restart(context: ServiceContext, last: Task, record: RestartRecord) -> None:
    status = last.status
    why = status.err or status.message or "no word why"
    wait = max(0.0, record.not_before - context.now)
    context.reason(f"task {last.name} {status.state.name.lower()} ({why}), its slot restarts in {wait:.1f} s")


def _reconcile_one(context: ServiceContext, slot: Slot, task: Task) -> Phase:
    """Reconcile a slot with one live task."""
    availability = context.availabilities.of(task)
    if context.stays_with_data(task, availability):
        return Phase.SETTLED
    if context.is_stopped_for_move(task):
        context.reason(f"task {task.name} stops for the last pass of a move of its data")
        context.replace(slot, task, restart.moved_record(task))
        return Phase.SETTLED
    if availability is NodeAvailability.LOST or (availability is NodeAvailability.DRAINED and not task.serves):
        _move(context, slot, task)
        return Phase.SETTLED
    if task.desired_state is TaskState.READY:
        _start_when_due(context, slot, task)
    if availability is NodeAvailability.DRAINED:
        return Phase.DRAINING
    if not context.clean(task):
        return Phase.DIRTY
    return _leave_or_stay(context, slot, task) if task.moving_to else Phase.SETTLED


def _leave_or_stay(context: ServiceContext, slot: Slot, task: Task) -> Phase:
    """Return that a slot should move to the node chosen for it; cancel that if it was tried or is impossible now."""
    node = context.view.nodes.get(task.moving_to)
    tried = slot.newest is not task and slot.newest.created_at >= task.moving_since
    if task.serves and not tried and availability_of(node) is NodeAvailability.OPEN:
        return Phase.LEAVING
    context.reason(f"task {task.name} stays where it is: its move to node {task.moving_to} did not succeed")
    context.cancel_move(task)
    return Phase.SETTLED


def _move(context: ServiceContext, slot: Slot, task: Task) -> None:
    """Replace at once a task that is lost with its node, or has not started on a drained one.

    One that served is told to stop only when its replacement has found a node (`_reconcile_several`): until then it may
    come back.
    """
    if restart.is_movable(task):
        context.reason(f"task {task.name} leaves node {task.node_id}, which is {context.availabilities.of(task).value}")
        record = _record_elsewhere(context, slot, task)
        if not context.may_return(task):
            context.stop(task)
        context.create_successor(slot, record)
    else:
        context.reason(f"task {task.name} ends with its node {task.node_id}: its restart condition is none")
        context.stop(task)


def _record_elsewhere(context: ServiceContext, slot: Slot, task: Task) -> RestartRecord:
    """Return the record for the next task of a slot that moves; a failed challenger counts as an attempt."""
    if slot.newest is task:
        return restart.moved_record(task)
    kept = canary.task_to_keep(context, slot) is not None
    return next_record(context, slot, kept=kept) or restart.moved_record(task)


def _start_when_due(context: ServiceContext, slot: Slot, task: Task) -> None:
    """Start a prepared task when its back-off is over and the slot's old tasks have stopped, or had a minute for it.

    The end of old tasks that write to the same data is waited for, however long it takes.
    """
    due = task.restart.not_before
    if context.still_stopping(slot):
        if context.has_one_writer:
            return
        due = max(due, task.created_at + restart.OLD_TASK_PATIENCE)
    if due <= context.now:
        context.start(task)
    else:
        context.wake(due)


def _reconcile_several(context: ServiceContext, slot: Slot) -> Phase:
    """Reconcile a slot with several live tasks: keep one, or an incumbent and its challenger.

    A lost task waits for its node while its challenger has none, unless the next step of a canary may change the slot.
    """
    live = slot.live
    left_out = canary.leaves_out(context, slot)
    fitting = [task for task in live if (left_out or context.clean(task)) and not task.moving_to]
    good = [task for task in fitting if context.availabilities.of(task) in KEEPS_TASKS]
    serving = next((task for task in good if task.serves), None)
    if serving is not None:
        _keep_only(context, slot, serving)
        return Phase.SETTLED
    incumbent = next((task for task in live if task.serves and not context.lost(task)), None)
    if not good:
        kept = _to_renew(context, live) or incumbent or live[-1]
        _keep_only(context, slot, kept)
        return _reconcile_one(context, slot, kept)
    challenger = good[-1]
    awaited = None if left_out or challenger.node_id else next(filter(context.may_return, fitting), None)
    if incumbent is None and awaited is not None:
        _keep_only(context, slot, challenger, awaited)
        return _reconcile_one(context, slot, challenger)
    if incumbent is not None and incumbent.moving_to and challenger.finds_no_node:
        _keep_only(context, slot, incumbent)
        return _reconcile_one(context, slot, incumbent)
    if incumbent is not None and _must_stop_first(context, incumbent, challenger):
        incumbent = None
    _keep_only(context, slot, challenger, incumbent)
    if challenger.desired_state is TaskState.READY:
        _start_when_due(context, slot, challenger)
    return Phase.MOVING


def _to_renew(context: ServiceContext, live: Iterable[Task]) -> Task | None:
    """Return the first task that serves on a node that keeps tasks, and needs only new files, which it can be given."""
    staying = (task for task in live if task.serves and not task.moving_to)
    return next(
        (task for task in staying if context.availabilities.of(task) in KEEPS_TASKS and context.renewable(task)), None
    )


def _keep_only(context: ServiceContext, slot: Slot, *kept: Task | None) -> None:
    for task in slot.live:
        if task not in kept:
            context.stop(task)
    slot.live = [task for task in slot.live if task in kept]


def _must_stop_first(context: ServiceContext, incumbent: Task, challenger: Task) -> bool:
    """Whether the incumbent must stop before its challenger can be placed, as both cannot run together here.

    The scheduler says in the challenger's status why it found no node. With host ports, a maximum of replicas a node or
    a reservation, the old task may itself be the reason (moby#36934), so it stops; a drained node is to be emptied in
    the end, whatever the reason.
    """
    if not challenger.finds_no_node:
        return False
    drained = context.availabilities.of(incumbent) is NodeAvailability.DRAINED
    if drained and context.now < (patience := challenger.created_at + DRAIN_PATIENCE):
        context.wake(patience)
        return False
    if not drained and not _in_the_way(context, incumbent, challenger):
        return False
    if not context.take_spare():
        return False
    said = StopsFirst(slot=str(challenger.slot or challenger.node_id), error=challenger.status.err)
    context.reason(remark(said))
    context.notes.append(said)
    return True


def _in_the_way(context: ServiceContext, incumbent: Task, challenger: Task) -> bool:
    """Whether the challenger could be placed on the incumbent's node if the incumbent were gone."""
    node = context.view.nodes.get(incumbent.node_id)
    placement = challenger.spec.placement
    if node is None or unmet(placement, node):
        return False
    others = [task for task in context.view.tasks.on_node(node.id) if task.id not in (incumbent.id, challenger.id)]
    if Available.of(node, others).lacking(reservations_of(challenger)):
        return False
    if context.host_ports or (placement and placement.max_replicas):
        return True
    return bool(Available.of(node, [*others, incumbent]).lacking(reservations_of(challenger)))

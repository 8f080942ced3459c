"""Rolling updates: a service's slots are brought to its new specification a few at a time.

The rules are SwarmKit's (`orchestrator/update/updater.go`). State is in the store only: the specification's version on
each task, and the service's `update_status`, which the API clears whenever it changes a specification (a new update
so cancels the running one) or sets to `rollback_started` when a rollback is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from common.errors import FailedPrecondition, InvalidArgument
from common.model import Task, TaskState
from common.model.service import UpdateConfig
from common.model.task import RestartRecord
from common.model.update import (
    ACTIVE,
    HALTED,
    AwaitsReplicas,
    CanaryHolds,
    Failure,
    NoProgress,
    Reason,
    StopsFirst,
    TaskReplaced,
    TasksFailed,
    UpdateState,
    UpdateStatus,
)
from common.spec import extensions
from common.spec.volumes import WRITERS_LABEL
from manager.domain.service_change import undo_update
from manager.domain.update_status import message, remark, state_of
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slot_reconciler import Phase, next_record
from manager.orchestrate.reconcile.slots import Slot
from manager.orchestrate.update import canary
from manager.orchestrate.update.progress import Progress, canary_over_at, config_of, measure, since

_ONE_WRITER = f"both would write to its volumes (say {WRITERS_LABEL}=many if they may)"
# Nanoseconds: as a monitor period, longer than anything lives.
_FOR_EVER = 1 << 62


def roll(context: ServiceContext, phases: Sequence[tuple[Slot, Phase]]) -> None:
    """Take an update's next steps, given what each slot needs."""
    if context.held:
        return
    records = {slot: next_record(context, slot) for slot, phase in phases if phase is Phase.DIRTY}
    dirty = {slot: record for slot in sorted(records, key=_turn) if (record := records[slot]) is not None}
    state, slots = state_of(context.service), [slot for slot, _ in phases]
    if state is UpdateState.PAUSED and context.service.update_status and context.service.update_status.held_at:
        _watch_canary(context, slots, dirty, context.service.update_status)
    if state in HALTED:
        return
    for slot in [slot for slot in records if slot not in dirty]:
        _stop_superseded(context, slot)
    if not dirty and state not in ACTIVE:
        return
    if state not in ACTIVE:
        promoted = extensions.of(context.service).canary > context.canary  # it was past its canary before
        _set_status(context, UpdateState.UPDATING, started_at=context.now, promoted=promoted)
    config = config_of(context.service)
    progress = measure(slots, context.service.spec_version, since(context.service, context.now), config, context.now)
    if config.failure_action != "continue" and (failure := _failure(context, progress, dirty, config)):
        fail(context, failure)
        return
    free = config.parallelism - progress.busy if config.parallelism else len(dirty)
    room = context.canary - canary.count_changed_slots(context, slots) if context.canary else len(dirty)
    left, bounded = _advance(context, dirty, config, free, room)
    _record_remark(context, bounded=bounded and progress.starting == 0)
    left = max(left, canary.count_unchanged_slots(context, slots))
    full = room <= 0 and not any(canary.has_begun(context, slot) for slot in dirty)
    if left and full and progress.starting == 0 and progress.monitored_until <= context.now:
        _hold(context, slots)
    else:
        _finish_or_wait(context, left, progress)


def _turn(slot: Slot) -> int:
    """Return a slot's place among others that are to change; those with the same place go by their numbers.

    First what does not serve: it has nothing to lose. Last what finds no node: where the new specification finds none
    either, all others are changed by then.
    """
    if any(task.finds_no_node for task in slot.live):
        return 2
    return 0 if slot.live and not any(task.serves for task in slot.live) else 1


def _hold(context: ServiceContext, slots: Sequence[Slot]) -> None:
    count = len(slots) if context.service.spec.mode.is_global else context.replicas
    _set_status(
        context,
        UpdateState.PAUSED,
        CanaryHolds(updated=canary.count_changed_slots(context, slots), of=count),
        held_at=context.now,
    )
    context.continue_at_once()


def _watch_canary(
    context: ServiceContext, slots: Sequence[Slot], dirty: Collection[Slot], status: UpdateStatus
) -> None:
    """Watch the canary: any failure of it counts now, and after a healthy period the update goes on by itself."""
    config = config_of(context.service)
    watched = msgspec.structs.replace(config, monitor=_FOR_EVER)
    progress = measure(slots, context.service.spec_version, since(context.service, context.now), watched, context.now)
    if config.failure_action != "continue" and (failure := _too_many_failures(progress, dirty, config)):
        fail(context, failure)
        return
    due = canary_over_at(context.service, status, progress)
    if due is None:
        return
    if due > context.now:
        context.wake(due)
        return
    _set_status(context, UpdateState.UPDATING, resumed_at=context.now, promoted=True)
    context.continue_at_once()


def _stop_superseded(context: ServiceContext, slot: Slot) -> None:
    """Stop the old task of a slot when the new one has completed; if that has failed for good, the old one goes on."""
    if slot.newest.status.state is TaskState.COMPLETE:
        for task in slot.live:
            context.reason(f"task {task.name} stops: the one after it has completed")
            context.stop(task)


def _advance(
    context: ServiceContext, dirty: Mapping[Slot, RestartRecord], config: UpdateConfig, free: int, room: int
) -> tuple[int, bool]:
    """Change at most `free` dirty slots, `room` of them for the first time; return how many are left.

    Also returns whether none could be started, as no more replicas may be missing.
    """
    left, begun, bounded = 0, False, False
    for slot, record in dirty.items():
        left += 1
        if free <= 0 or (room <= 0 and not canary.has_begun(context, slot)):
            continue
        if context.draft.full:
            context.continue_at_once()
            break
        if not _renewable(context, slot) and _leaves_gap(context, slot, config) and not context.take_spare():
            bounded = True
            continue
        free -= 1
        room -= not canary.has_begun(context, slot)
        begun = True
        _change(context, slot, config, record)
    return left, bounded and not begun


def _leaves_gap(context: ServiceContext, slot: Slot, config: UpdateConfig) -> bool:
    """Whether changing a slot stops a task that serves before another does."""
    return bool(slot.live) and slot.live[0].serves and not _starts_first(context, config)


def _starts_first(context: ServiceContext, config: UpdateConfig) -> bool:
    """Whether a slot's new task runs before its old one stops; not where both would write to the same data."""
    return config.order == "start-first" and not context.has_one_writer


def _renewable(context: ServiceContext, slot: Slot) -> Task | None:
    """Return the one task of a slot that may stay, with other secrets and configs; None when it is to be replaced."""
    staying = [task for task in slot.live if not context.was_told_to_stop(task)]
    return staying[0] if len(staying) == 1 and context.renewable(staying[0]) else None


def _note_refused(context: ServiceContext, slot: Slot) -> None:
    for task in slot.live:
        if task.refused:
            said = TaskReplaced(task=task.name, error=task.status.err)
            context.reason(remark(said))
            context.notes.append(said)


def _change(context: ServiceContext, slot: Slot, config: UpdateConfig, record: RestartRecord) -> None:
    """Give a slot a task of the new specification before or after the old one stops, or its task the new files."""
    task = _renewable(context, slot)
    if task is not None:
        context.renew(task)
        return
    _note_refused(context, slot)
    old = slot.live[0] if slot.live else None
    if old is None or (_starts_first(context, config) and old.serves):
        context.create_successor(slot, record, is_update=True)
        return
    if config.order == "start-first" and old.serves:
        said = StopsFirst(slot=str(slot.number), error=_ONE_WRITER)
        context.reason(remark(said))
        context.notes.append(said)
    context.replace(slot, old, record, is_update=True)


def _finish_or_wait(context: ServiceContext, left: int, progress: Progress) -> None:
    if left:
        for instant in (progress.next_at, progress.monitored_until if context.canary else 0.0):
            if instant > context.now:
                context.wake(instant)
    elif progress.starting == 0:
        if progress.monitored_until > context.now:
            context.wake(progress.monitored_until)
        else:
            _complete(context)


def _complete(context: ServiceContext) -> None:
    status = context.service.update_status
    if status is not None and status.state is UpdateState.ROLLBACK_STARTED:
        _set_status(context, UpdateState.ROLLBACK_COMPLETED, status.reason, completed_at=context.now)
    else:
        _set_status(context, UpdateState.COMPLETED, completed_at=context.now)


def _too_many_failures(progress: Progress, dirty: Collection[Slot], config: UpdateConfig) -> TasksFailed | None:
    """Say that more slots have failed than may; one whose new task failed beside the old one is dirty again."""
    slots, failed = len(progress.changed.union(dirty)), len(progress.failures)
    if not failed or failed <= config.max_failure_ratio * slots:
        return None
    first = progress.failures[0]
    return TasksFailed(task=first.id, failed=failed, of=slots, error=first.status.err or first.status.message)


def _failure(
    context: ServiceContext, progress: Progress, dirty: Collection[Slot], config: UpdateConfig
) -> Failure | None:
    """Return why the update has failed: too many tasks did, or none that it waits for runs; None if it has not."""
    if failure := _too_many_failures(progress, dirty, config):
        return failure
    if progress.waiting is None and not _awaits_replicas(context):
        return None
    deadline = extensions.of(context.service).progress_deadline
    if context.now < progress.progressed_at + deadline:
        context.wake(progress.progressed_at + deadline)
        return None
    task = progress.waiting
    if task is None:
        return NoProgress(deadline=deadline, waits=AwaitsReplicas())
    why = task.status.err or task.status.message
    return NoProgress(deadline=deadline, task=task.id, error=why, renewing=task.renewing)


def fail(context: ServiceContext, failure: Failure) -> None:
    """Pause or roll back. A rollback never rolls back, and there must be something to go back to."""
    if state_of(context.service) is UpdateState.ROLLBACK_STARTED:
        _set_status(context, UpdateState.ROLLBACK_PAUSED, failure)
    elif config_of(context.service).failure_action != "rollback":
        _set_status(context, UpdateState.PAUSED, failure)
    elif context.draft.rolled_back:  # ports that another rollback of this decision takes are not in the view yet
        context.continue_at_once()
    else:
        _roll_back(context, failure)


def _roll_back(context: ServiceContext, failure: Failure) -> None:
    """Return to the previous specification; if that is no longer possible, pause and say why."""
    try:
        back = undo_update(context.view, context.service, context.now, failure)
    except (FailedPrecondition, InvalidArgument) as error:
        _set_status(context, UpdateState.PAUSED, failure, rollback_refused=error.message)
        return
    context.update(back)
    context.draft.rolled_back = True
    if back.update_status is not None:
        context.reason(message(back.update_status))
    context.continue_at_once()


def _record_remark(context: ServiceContext, *, bounded: bool) -> None:
    """Record in the update's status how it deviates from its configuration.

    The last remark stays until there is another one. `bounded`: nothing can be done now, as no more replicas may be
    missing; that remark stays only as long as it is true.
    """
    status = context.service.update_status
    if status is None:
        return
    said = context.notes[-1] if context.notes else status.remark
    if bounded:
        said = AwaitsReplicas()
    elif isinstance(said, AwaitsReplicas):
        said = None
    old = status.state is UpdateState.UPDATING and status.message  # stored before there were remarks
    if said == status.remark and not old:
        return
    told = msgspec.structs.replace(status, remark=said, message="")
    context.update(msgspec.structs.replace(context.service, update_status=told))
    if bounded:
        context.continue_at_once()  # to be woken when that has lasted too long


def _awaits_replicas(context: ServiceContext) -> bool:
    status = context.service.update_status
    return status is not None and isinstance(status.remark, AwaitsReplicas)


def _set_status(context: ServiceContext, state: UpdateState, reason: Reason | None = None, **changes: Any) -> None:
    """Change the update's status; with `started_at` another update starts."""
    old = context.service.update_status
    if old is None or "started_at" in changes:
        old = UpdateStatus()
    given = {"message": "", "completed_at": 0.0, "held_at": 0.0, "remark": None, "rollback_refused": "", **changes}
    status = msgspec.structs.replace(old, state=state, reason=reason, **given)
    context.update(msgspec.structs.replace(context.service, update_status=status))
    context.reason(message(status))

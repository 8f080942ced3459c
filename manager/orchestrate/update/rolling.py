"""Rolling updates: a service's slots are brought to its new specification a few at a time.

The rules are SwarmKit's (`orchestrator/update/updater.go`). State is in the store only: the specification's version on
each task, and the service's `update_status`, which the API clears whenever it changes a specification (a new update
so cancels the running one) or sets to `rollback_started` when a rollback is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from common.clock import seconds
from common.errors import FailedPrecondition, InvalidArgument
from common.model import Task, TaskState
from common.model.service import UpdateConfig, UpdateStatus
from common.model.task import RestartRecord
from common.spec import extensions
from manager.domain.service_change import undo_update
from manager.domain.update_status import (
    ACTIVE,
    COMPLETED,
    HALTED,
    PAUSED,
    ROLLBACK_COMPLETED,
    ROLLBACK_PAUSED,
    ROLLBACK_STARTED,
    UPDATING,
    state_of,
)
from manager.orchestrate import max_unavailable
from manager.orchestrate.reconcile import restart
from manager.orchestrate.reconcile.service_context import Case
from manager.orchestrate.reconcile.slot_reconciler import Phase, next_record
from manager.orchestrate.reconcile.slots import Slot
from manager.orchestrate.update import canary

_IN_PROGRESS = "update in progress"
# Nanoseconds: as a monitor period, longer than anything lives.
_FOR_EVER = 1 << 62


def roll(case: Case, phases: Sequence[tuple[Slot, Phase]]) -> None:
    """Take an update's next steps, given what each slot needs."""
    if case.held:
        return
    records = {slot: next_record(case, slot) for slot, phase in phases if phase is Phase.DIRTY}
    dirty = {slot: record for slot, record in records.items() if record is not None}
    state, slots = state_of(case.service), [slot for slot, _ in phases]
    if state == PAUSED and case.service.update_status and case.service.update_status.held_at:
        _hold_on(case, slots, len(dirty), case.service.update_status)
    if state in HALTED:
        return
    for slot in [slot for slot in records if slot not in dirty]:
        _let_go(case, slot)
    if not dirty and state not in ACTIVE:
        return
    if state not in ACTIVE:
        promoted = extensions.of(case.service).canary > case.canary  # it goes on with what is beyond its canary already
        _set(case, UPDATING, _IN_PROGRESS, started_at=case.now, promoted=promoted)
    config = _config(case)
    progress = measure(slots, case.service.spec_version, _since(case), config, case.now)
    if config.failure_action != "continue" and (cause := _cause(case, progress, len(dirty), config)):
        fail(case, cause)
        return
    free = config.parallelism - progress.busy if config.parallelism else len(dirty)
    room = case.canary - canary.changed(case, slots) if case.canary else len(dirty)
    left, bounded = _advance(case, dirty, config, free, room)
    _tell(case)
    _tell_bound(case, waits=bounded and progress.starting == 0)
    left = max(left, canary.left_out(case, slots))
    full = room <= 0 and not any(canary.has_begun(case, slot) for slot in dirty)
    if left and full and progress.starting == 0 and progress.quiet_at <= case.now:
        _hold(case, slots)
    else:
        _finish_or_wait(case, left, progress)


def _hold(case: Case, slots: Sequence[Slot]) -> None:
    count = len(slots) if case.service.spec.mode.is_global else case.replicas
    message = f"{canary.HOLDS}{canary.changed(case, slots)} of {count} updated, holding"
    _set(case, PAUSED, message, held_at=case.now)
    case.continue_at_once()


def _hold_on(case: Case, slots: Sequence[Slot], dirty: int, status: UpdateStatus) -> None:
    """Watch the canary: any failure of it counts now, and after a healthy period the update goes on by itself."""
    config = _config(case)
    watched = msgspec.structs.replace(config, monitor=_FOR_EVER)
    progress = measure(slots, case.service.spec_version, _since(case), watched, case.now)
    if config.failure_action != "continue" and _too_many_failures(progress, dirty, config):
        fail(case, f"due to failure or early termination of task {progress.failures[0].id}")
        return
    period = extensions.of(case.service).canary_period
    due = max(status.held_at, progress.moved_at) + period
    if not period or progress.starting:
        return
    if due > case.now:
        case.wake(due)
        return
    _set(case, UPDATING, _IN_PROGRESS, resumed_at=case.now, promoted=True)
    case.continue_at_once()


def _let_go(case: Case, slot: Slot) -> None:
    """Stop the old task of a slot when the new one has done its work; where that has failed for good, it serves on."""
    if slot.newest.status.state is TaskState.COMPLETE:
        for task in slot.live:
            case.reason(f"task {task.name} stops: the one after it has completed")
            case.stop(task)


def _advance(
    case: Case, dirty: Mapping[Slot, RestartRecord], config: UpdateConfig, free: int, room: int
) -> tuple[int, bool]:
    """Change at most `free` dirty slots, `room` of them for the first time; return how many still want to be changed.

    And whether none could be begun with, as no more replicas may be missing.
    """
    left, begun, bounded = 0, False, False
    for slot, record in dirty.items():
        left += 1
        if free <= 0 or (room <= 0 and not canary.has_begun(case, slot)):
            continue
        if case.draft.full:
            case.continue_at_once()
            break
        if not _renewable(case, slot) and _leaves_gap(slot, config) and not case.may_go_without():
            bounded = True
            continue
        free -= 1
        room -= not canary.has_begun(case, slot)
        begun = True
        _change(case, slot, config, record)
    return left, bounded and not begun


def _leaves_gap(slot: Slot, config: UpdateConfig) -> bool:
    """Whether changing a slot stops a task that serves before another does."""
    return bool(slot.live) and slot.live[0].serves and config.order != "start-first"


def _renewable(case: Case, slot: Slot) -> Task | None:
    """Return the one task of a slot that may stay, with other secrets and configs; None when it is to be replaced."""
    staying = [task for task in slot.live if not case.told_to_stop(task)]
    return staying[0] if len(staying) == 1 and case.renewable(staying[0]) else None


def _say_refused(case: Case, slot: Slot) -> None:
    for task in slot.live:
        if task.refused:
            said = f"task {task.name} is replaced: {task.status.err}"
            case.reason(said)
            case.notes.append(said)


def _change(case: Case, slot: Slot, config: UpdateConfig, record: RestartRecord) -> None:
    """Give a slot a task of the new specification, before or after its old one stops, or its task the new files."""
    task = _renewable(case, slot)
    if task is not None:
        case.renew(task)
        return
    _say_refused(case, slot)
    old = slot.live[0] if slot.live else None
    if old is None or (config.order == "start-first" and old.serves):
        case.succeed(slot, record, anew=True)
    else:
        case.replace(slot, old, record, anew=True)


def _finish_or_wait(case: Case, left: int, progress: Progress) -> None:
    if left:
        for instant in (progress.next_at, progress.quiet_at if case.canary else 0.0):
            if instant > case.now:
                case.wake(instant)
    elif progress.starting == 0:
        if progress.quiet_at > case.now:
            case.wake(progress.quiet_at)
        else:
            _complete(case)


def _complete(case: Case) -> None:
    if state_of(case.service) == ROLLBACK_STARTED:
        _set(case, ROLLBACK_COMPLETED, "rollback completed", completed_at=case.now)
    else:
        _set(case, COMPLETED, "update completed", completed_at=case.now)


def _too_many_failures(progress: Progress, dirty: int, config: UpdateConfig) -> bool:
    slots = progress.changed + dirty
    return bool(progress.failures) and len(progress.failures) > config.max_failure_ratio * slots


def _cause(case: Case, progress: Progress, dirty: int, config: UpdateConfig) -> str:
    """Say why the update has failed: its tasks did, or none of those it waits for came to run; empty if it has not."""
    if _too_many_failures(progress, dirty, config):
        return f"due to failure or early termination of task {progress.failures[0].id}"
    if progress.waiting is None and not _is_bounded(case):
        return ""
    deadline = extensions.of(case.service).progress_deadline
    if case.now < progress.moved_at + deadline:
        case.wake(progress.moved_at + deadline)
        return ""
    if progress.waiting is None:
        return f"as there was no progress for {deadline:g} s: it {max_unavailable.WAITS}"
    why = progress.waiting.status.err or progress.waiting.status.message
    lacks = "has not taken its new files" if progress.waiting.renewing else f"does not run ({why})"
    return f"as there was no progress for {deadline:g} s: task {progress.waiting.id} {lacks}"


def fail(case: Case, cause: str) -> None:
    """Pause or roll back. A rollback never rolls back, and there must be something to go back to."""
    if state_of(case.service) == ROLLBACK_STARTED:
        _set(case, ROLLBACK_PAUSED, f"rollback paused {cause}")
    elif _config(case).failure_action != "rollback":
        _set(case, PAUSED, f"update paused {cause}")
    elif case.draft.rolled_back:  # ports that another rollback of this decision takes are not in the view yet
        case.continue_at_once()
    else:
        _roll_back(case, cause)


def _roll_back(case: Case, cause: str) -> None:
    """Return to the previous specification; where that is not possible any more, pause and say why."""
    try:
        back = undo_update(case.view, case.service, case.now, f"update rolled back {cause}")
    except (FailedPrecondition, InvalidArgument) as error:
        _set(case, PAUSED, f"update paused {cause}; it cannot be rolled back: {error.message}")
        return
    case.update(back)
    case.draft.rolled_back = True
    case.reason(f"update rolled back {cause}")
    case.continue_at_once()


def _tell(case: Case) -> None:
    """Say in the update's status what is done otherwise than it was asked for."""
    status = case.service.update_status
    if case.notes and status is not None:
        message = f"{_IN_PROGRESS}: {case.notes[-1]}"
        case.update(
            msgspec.structs.replace(case.service, update_status=msgspec.structs.replace(status, message=message))
        )


def _is_bounded(case: Case) -> bool:
    status = case.service.update_status
    return status is not None and status.message.endswith(max_unavailable.WAITS)


def _tell_bound(case: Case, *, waits: bool) -> None:
    """Say in the update's status that it waits as no more replicas may be missing, or does no longer."""
    status = case.service.update_status
    if status is None or waits == _is_bounded(case):
        return
    message = f"{_IN_PROGRESS}: {max_unavailable.WAITS}" if waits else _IN_PROGRESS
    case.update(msgspec.structs.replace(case.service, update_status=msgspec.structs.replace(status, message=message)))
    case.continue_at_once()  # to be woken when that has lasted too long


def _since(case: Case) -> float:
    """Return from when on tasks count for the update: from its start, or from the end of its last pause."""
    status = case.service.update_status
    return max(status.started_at, status.resumed_at) if status is not None else case.now


def _config(case: Case) -> UpdateConfig:
    spec = case.service.spec
    config = spec.rollback_config if state_of(case.service) == ROLLBACK_STARTED else spec.update_config
    return config or UpdateConfig()


def _set(case: Case, state: str, message: str, **changes: float) -> None:
    """Change the update's status; with `started_at` it is another update's."""
    old = case.service.update_status
    if old is None or "started_at" in changes:
        old = UpdateStatus()
    given = {"completed_at": 0.0, "held_at": 0.0, **changes}
    status = msgspec.structs.replace(old, state=state, message=message, **given)
    case.update(msgspec.structs.replace(case.service, update_status=status))
    case.reason(message)


# How far a rolling update is, read from its tasks alone: so a new manager goes on where the old one was.


@dataclass(frozen=True, slots=True)
class Progress:
    """What an update has done so far.

    `changed` slots have a task of the new version that was not told to stop before it ran; `busy` of them hold back
    others, as their tasks do not run yet or `delay` has not passed since; `starting` of these do not run yet.
    `failures` are the tasks that failed within the monitor period, one a slot. `next_at` is when a delay ends,
    `quiet_at` when the last monitor period does. `moved_at` is when a slot was last begun with or came to run,
    `waiting` the newest task of the last one begun that does not.
    """

    changed: int
    busy: int
    starting: int
    failures: tuple[Task, ...]
    next_at: float
    quiet_at: float
    moved_at: float
    waiting: Task | None


def measure(slots: Iterable[Slot], version: int, since: float, config: UpdateConfig, now: float) -> Progress:
    """Look at the tasks of `version` made, or given other files, at or after `since`, slot by slot."""
    delay, monitor = seconds(config.delay), seconds(config.monitor)
    changed = busy = starting = 0
    failures: list[Task] = []
    next_at = quiet_at = 0.0
    moved_at, waiting = since, None
    for slot in slots:
        made = [task for task in slot.tasks if _made(task, version, since)]
        if not made:
            continue
        moved_at = max(moved_at, _begun_at(made[0]))
        if not any(task.live or _settled(task) for task in made):
            continue  # they were told to stop before they ran, maybe on a node that is lost: its turn is yet to come
        changed += 1
        settled_at = [_settled_at(task) for task in made if _settled(task)]
        moved_at = max(moved_at, min(settled_at, default=0.0))
        if not settled_at:
            waiting = made[-1]
            starting += 1
            busy += 1
        elif (free_at := min(settled_at) + delay) > now:
            busy += 1
            next_at = min(next_at or free_at, free_at)
        quiet_at = max([quiet_at, *(instant + monitor for instant in settled_at)])
        failures += [task for task in made if _failed(task, monitor)][:1]
    return Progress(changed, busy, starting, tuple(failures), next_at, quiet_at, moved_at, waiting)


def _made(task: Task, version: int, since: float) -> bool:
    """Whether a task has had its turn; one that refused what it was given is yet to be replaced."""
    return task.spec_version == version and _begun_at(task) >= since and not task.refused


def _begun_at(task: Task) -> float:
    return task.renewal.asked_at if task.renewal is not None else task.created_at


def _settled(task: Task) -> bool:
    """Whether a new task has come to run, with what it was given, or has ended before: either way its turn is over."""
    return task.status.state.terminal or (task.status.state is TaskState.RUNNING and not task.renewing)


def _settled_at(task: Task) -> float:
    if task.renewal is not None:
        return max(task.renewal.taken_at, task.restart.running_since) or task.updated_at
    return task.restart.running_since or task.updated_at


def _failed(task: Task, monitor: float) -> bool:
    """Whether a new task ended by itself before the monitor period was over.

    Completing is no failure of a task that its restart policy does not want to run for ever.
    """
    if not task.ended_by_itself:
        return False
    if task.status.state is TaskState.COMPLETE and restart.policy_of(task).condition != "any":
        return False
    if task.renewal is not None:
        return task.updated_at - (task.renewal.taken_at or task.renewal.asked_at) <= monitor
    return restart.ran_for(task) <= monitor

"""Rolling updates: a service's slots are brought to its new specification a few at a time.

The rules are SwarmKit's (`orchestrator/update/updater.go`). State is in the store only: the specification's version on
each task, and the service's `update_status`, which the API clears whenever it changes a specification (a new update
so cancels the running one) or sets to `rollback_started` when a rollback is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from common.model.service import UpdateConfig, UpdateStatus
from common.model.task import RestartRecord
from manager.orchestrate.case import Case
from manager.orchestrate.progress import (
    ACTIVE,
    COMPLETED,
    HALTED,
    PAUSED,
    ROLLBACK_COMPLETED,
    ROLLBACK_PAUSED,
    ROLLBACK_STARTED,
    UPDATING,
    Progress,
    measure,
)
from manager.orchestrate.slots import Slot
from manager.orchestrate.upkeep import Phase, next_record, serves
from manager.state import extensions, revisions

_IN_PROGRESS = "update in progress"


def roll(case: Case, phases: Sequence[tuple[Slot, Phase]]) -> None:
    """Take an update's next steps, given what each slot needs."""
    if case.held:
        return
    dirty = [slot for slot, phase in phases if phase is Phase.DIRTY]
    state = _state(case)
    if state in HALTED or (not dirty and state not in ACTIVE):
        return
    if state not in ACTIVE:
        _set(case, UPDATING, _IN_PROGRESS, started_at=case.now)
    config = _config(case)
    slots = [slot for slot, _ in phases]
    progress = measure(slots, case.service.spec_version, _since(case), config, case.now)
    if config.failure_action != "continue" and (cause := _cause(case, progress, len(dirty), config)):
        fail(case, cause)
        return
    _tell(case)
    left = _advance(case, dirty, config, progress)
    _finish_or_wait(case, left, progress)


def _advance(case: Case, dirty: Sequence[Slot], config: UpdateConfig, progress: Progress) -> int:
    """Begin with as many dirty slots as may be under way at once; return how many still want to be changed."""
    free = config.parallelism - progress.busy if config.parallelism else len(dirty)
    left = 0
    for slot in dirty:
        record = next_record(case, slot)
        if record is None:  # it has used up its attempts with the new specification
            continue
        left += 1
        if free <= 0:
            continue
        if case.draft.full:
            case.continue_at_once()
            break
        free -= 1
        _change(case, slot, config, record)
    return left


def _change(case: Case, slot: Slot, config: UpdateConfig, record: RestartRecord) -> None:
    """Give a slot a task of the new specification, before or after its old one stops."""
    old = slot.live[0] if slot.live else None
    if old is None or (config.order == "start-first" and serves(old)):
        case.succeed(slot, record)
    else:
        case.replace(slot, old, record)


def _finish_or_wait(case: Case, left: int, progress: Progress) -> None:
    if left:
        if progress.next_at:
            case.wake(progress.next_at)
    elif progress.starting == 0:
        if progress.quiet_at > case.now:
            case.wake(progress.quiet_at)
        else:
            _complete(case)


def _complete(case: Case) -> None:
    if _state(case) == ROLLBACK_STARTED:
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
    if progress.waiting is None:
        return ""
    deadline = extensions.of(case.service).progress_deadline
    if case.now < progress.moved_at + deadline:
        case.wake(progress.moved_at + deadline)
        return ""
    why = progress.waiting.status.err or progress.waiting.status.message
    return f"as there was no progress for {deadline:g} s: task {progress.waiting.id} does not run ({why})"


def fail(case: Case, cause: str) -> None:
    """Pause or roll back. A rollback never rolls back, and there must be something to go back to."""
    if _state(case) == ROLLBACK_STARTED:
        _set(case, ROLLBACK_PAUSED, f"rollback paused {cause}")
    elif _config(case).failure_action != "rollback":
        _set(case, PAUSED, f"update paused {cause}")
    elif case.service.previous_spec is None:
        _set(case, PAUSED, f"update paused {cause}: there is no previous specification to roll back to")
    else:
        _roll_back(case, f"update rolled back {cause}")


def _roll_back(case: Case, message: str) -> None:
    """Make the previous specification the present one, as a new version of it; none is previous then."""
    previous = case.service.previous_spec
    assert previous is not None
    service = revisions.respecified(case.service, previous, case.now)
    case.update(msgspec.structs.replace(service, previous_spec=None, spec_version=case.view.index + 1))
    _set(case, ROLLBACK_STARTED, message, started_at=case.now)
    case.continue_at_once()


def _tell(case: Case) -> None:
    """Say in the update's status what is done otherwise than it was asked for."""
    status = case.service.update_status
    if case.notes and status is not None:
        message = f"{_IN_PROGRESS}: {case.notes[-1]}"
        case.update(
            msgspec.structs.replace(case.service, update_status=msgspec.structs.replace(status, message=message))
        )


def _since(case: Case) -> float:
    """Return from when on tasks count for the update: from its start, or from the end of its last pause."""
    status = case.service.update_status
    return max(status.started_at, status.resumed_at) if status is not None else case.now


def _config(case: Case) -> UpdateConfig:
    spec = case.service.spec
    config = spec.rollback_config if _state(case) == ROLLBACK_STARTED else spec.update_config
    return config or UpdateConfig()


def _state(case: Case) -> str:
    status = case.service.update_status
    return status.state if status is not None else ""


def _set(case: Case, state: str, message: str, *, started_at: float | None = None, completed_at: float = 0.0) -> None:
    old = case.service.update_status or UpdateStatus()
    status = UpdateStatus(
        state=state,
        started_at=old.started_at if started_at is None else started_at,
        completed_at=completed_at,
        message=message,
        resumed_at=old.resumed_at if started_at is None else 0.0,
        promoted=old.promoted if started_at is None else False,
    )
    case.update(msgspec.structs.replace(case.service, update_status=status))
    case.reason(message)

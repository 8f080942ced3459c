"""What an update's status says, in other words: its reason and remark fit its state, and name what is there."""

from __future__ import annotations

from collections.abc import Iterator

from common.model import Service
from common.model.update import (
    Action,
    Awaited,
    AwaitsServices,
    CanaryHolds,
    NoProgress,
    Obstacle,
    Requested,
    TasksFailed,
    UpdateStatus,
)
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.sim.placement import Complaint
from tests.sim.startorder import LABEL, unready

_ROLLBACKS = ("rollback_started", "rollback_paused", "rollback_completed")
_REQUESTED = {
    Action.PAUSE: ("paused", "rollback_paused"),
    Action.ABORT: _ROLLBACKS,
    Action.ROLLBACK: _ROLLBACKS,
}
_FAILED = ("paused", *_ROLLBACKS)
_ACTIVE = ("updating", "rollback_started")


def misleading(before: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Complain of what a service's status says since these changes and was not so when they were decided on."""
    for change in changes.changes:
        old, new = change.old, change.new
        if not isinstance(new, Service):
            continue
        if not isinstance(old, Service) or old.waits_for != new.waits_for:
            yield from ((text, []) for text in _waits_for_nothing(before, new, new.waits_for))
        status = new.update_status
        if status is not None and (not isinstance(old, Service) or old.update_status != status):
            yield from ((f"{new.name}: {text}: {status}", []) for text in _unlike(before, new, status))


def _unlike(view: View, service: Service, status: UpdateStatus) -> Iterator[str]:
    if status.message or status.progress is not None:
        yield "a sentence or a figure is stored"
    if status.remark is not None and status.state not in _ACTIVE:
        yield "it does not go on, and says how"
    if isinstance(status.remark, AwaitsServices) and status.remark.services != service.waits_for:
        yield "it does not wait for what its service waits for"
    if bool(status.held_at) != isinstance(status.reason, CanaryHolds) or (status.held_at and status.state != "paused"):
        yield "it holds, and has no canary, or the other way round"
    if status.rollback_refused and (status.state != "paused" or status.reason is None):
        yield "a rollback was refused, and it is not paused for that"
    yield from _wrong_reason(view, service, status)


def _wrong_reason(view: View, service: Service, status: UpdateStatus) -> Iterator[str]:
    reason, allowed = status.reason, status.state in _FAILED
    match reason:
        case None:
            allowed = status.state not in ("paused", "rollback_paused")
        case CanaryHolds(updated=updated, of=of):
            allowed = status.state == "paused" and 0 < updated <= of
        case Requested(action=action):
            allowed = status.state in _REQUESTED[action]
        case TasksFailed(task=task_id, failed=failed, of=of):
            there = view.tasks.get(task_id)
            if status.state == "paused" and (there is None or there.service_id != service.id):
                yield "it names another service's task"
            allowed = allowed and 0 < failed <= of
        case NoProgress(waits=None, task=task_id):
            allowed = allowed and bool(task_id)
    if not allowed:
        yield "its reason is not one for its state"


def _waits_for_nothing(view: View, service: Service, named: tuple[Awaited, ...]) -> Iterator[str]:
    """It waits for what its label says and is not so far; that is a live service, or said to be missing."""
    late = dict(unready(view, service)) if LABEL in service.spec.labels else {}
    for each in named:
        there = any(not other.pending_delete for other in view.services.named(each.service))
        if late.get(each.service) != each.condition:
            yield f"{service.name} waits for {each}, which it does not have to"
        if there is (each.obstacle is Obstacle.MISSING):
            yield f"{service.name} waits for {each}, and that is {'there' if there else 'not there'}"

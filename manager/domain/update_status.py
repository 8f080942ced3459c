"""States of a service's update, how far it may go, and the sentences about it. Pure.

Sentences are made only to be shown or logged: nothing decides on them.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.model import Service
from common.model.service import ServiceSpec
from common.model.update import (
    Action,
    Awaited,
    AwaitsReplicas,
    AwaitsServices,
    CanaryHolds,
    Condition,
    NoProgress,
    Obstacle,
    Reason,
    Remark,
    Requested,
    StopsFirst,
    TaskReplaced,
    TasksFailed,
    UpdateState,
    UpdateStatus,
)
from common.spec import extensions
from manager.domain import revisions

_STATES = {
    UpdateState.NONE: "",
    UpdateState.UPDATING: "update in progress",
    UpdateState.PAUSED: "update paused",
    UpdateState.COMPLETED: "update completed",
    UpdateState.ROLLBACK_STARTED: "rollback in progress",
    UpdateState.ROLLBACK_PAUSED: "rollback paused",
    UpdateState.ROLLBACK_COMPLETED: "rollback completed",
}
_CONDITIONS = {
    Condition.STARTED: "to be started",
    Condition.HEALTHY: "to be healthy",
    Condition.COMPLETED: "to complete",
}
_OBSTACLES = {
    Obstacle.IS_JOB: ", which a job never is,",
    Obstacle.HAS_COMPLETED: ", which has completed instead,",
}


def message(status: UpdateStatus) -> str:
    """Return Docker's `UpdateStatus.Message`; what was stored before there were reasons is returned as it is."""
    if status.message:
        return status.message
    if isinstance(status.remark, AwaitsServices):
        return remark(status.remark)
    if status.remark is not None:
        return f"{_STATES[status.state]}: {remark(status.remark)}"
    if status.reason is None:
        return _STATES[status.state]
    if status.state is UpdateState.ROLLBACK_COMPLETED:
        return _STATES[status.state] + _after(status.reason)
    said = _said(status.state, status.reason)
    return f"{said}; it cannot be rolled back: {status.rollback_refused}" if status.rollback_refused else said


def halted(status: UpdateStatus) -> str:
    """Say why an update was halted, for people: how many tasks failed and with what, not the id of one."""
    reason = status.reason
    if status.message or not isinstance(reason, TasksFailed):
        return message(status)
    why = f": {reason.error}" if reason.error else ""
    refused = f"; it cannot be rolled back: {status.rollback_refused}" if status.rollback_refused else ""
    return f"{_STATES[status.state]}, {reason.failed} of {reason.of} tasks failed{why}{refused}"


def remark(said: Remark) -> str:
    """Say how an update deviates from its configuration."""
    match said:
        case AwaitsServices():
            return waits_for(said.services)
        case AwaitsReplicas():
            return "waits, as no more replicas may be unavailable (max-unavailable)"
        case TaskReplaced():
            return f"task {said.task} is replaced: {said.error}"
        case StopsFirst():
            return (
                f"slot {said.slot}: the new task cannot run beside the old one ({said.error}): "
                "stopping the old one first"
            )


def waits_for(services: Iterable[Awaited]) -> str:
    """Say which services are waited for; empty if none."""
    named = " and ".join(map(_awaited, services))
    return f"waits for {named}" if named else ""


def _said(state: UpdateState, reason: Reason) -> str:
    match reason:
        case CanaryHolds():
            return f"canary: {reason.updated} of {reason.of} updated, holding"
        case Requested():
            return _requested(reason)
        case TasksFailed() | NoProgress():
            head = "update rolled back" if state is UpdateState.ROLLBACK_STARTED else _STATES[state]
            return f"{head} {_cause(reason)}"


def _after(reason: Reason) -> str:
    """Say what had failed, when that is undone: it is what people then ask; nothing where somebody wanted it undone."""
    match reason:
        case TasksFailed() | NoProgress():
            return f"; the update had failed {_cause(reason)}"
        case _:
            return ""


def _requested(reason: Requested) -> str:
    match reason.action:
        case Action.PAUSE:
            return "paused on request"
        case Action.ABORT:
            return "update aborted on request"
        case Action.ROLLBACK:  # in Docker's words
            return "manually requested rollback" + (f" to revision {reason.revision}" if reason.revision else "")


def _cause(reason: TasksFailed | NoProgress) -> str:
    if isinstance(reason, TasksFailed):  # in Docker's words
        why = f": {reason.error}" if reason.error else ""
        return f"due to failure or early termination of task {reason.task}{why}"
    return f"as there was no progress for {reason.deadline:g} s: {_standstill(reason)}"


def _standstill(reason: NoProgress) -> str:
    if reason.waits is not None:
        return f"it {remark(reason.waits)}"
    lacks = "has not received its new files" if reason.renewing else f"does not run ({reason.error})"
    return f"task {reason.task} {lacks}"


def _awaited(each: Awaited) -> str:
    if each.obstacle is Obstacle.MISSING:
        return f"{each.service}, which does not exist,"
    return f"{each.service} {_CONDITIONS[each.condition]}{_OBSTACLES.get(each.obstacle, '')}"


_WITH_CANARY = (UpdateState.NONE, UpdateState.UPDATING, UpdateState.PAUSED)


def state_of(service: Service) -> UpdateState:
    """Return the state of a service's update."""
    return service.update_status.state if service.update_status is not None else UpdateState.NONE


def canary_size(service: Service) -> int:
    """Return how many slots may have the new specification now; 0 when all may."""
    status = service.update_status
    if (status is not None and status.promoted) or state_of(service) not in _WITH_CANARY:
        return 0
    return extensions.of(service).canary


def after_change(service: Service, spec: ServiceSpec) -> UpdateStatus | None:
    """Return a service's update status for a new specification: None, so that a new update starts.

    An update that has passed its canary, or a rollback, must not hold again after a change that leaves the tasks as
    they are, such as scaling: then only that is kept.
    """
    has_canary = extensions.of(service).canary and extensions.read(spec.labels).canary
    if not has_canary or canary_size(service) or revisions.tasks_differ(service.spec, spec):
        return None
    return UpdateStatus(promoted=True)

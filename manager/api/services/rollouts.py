"""Control of a service's update, and its earlier specifications. The engine has no such paths.

`POST /services/{id}/rollout?version=N&action=pause|continue|abort` and `GET /services/{id}/history`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from common.clock import rfc3339
from common.errors import FailedPrecondition, OutOfSequence
from common.model import Service
from common.model.client import Role
from common.model.update import Action, CanaryHolds, NoProgress, Requested, TasksFailed, UpdateState, UpdateStatus
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.lookup import find_service
from manager.api.router import Place, Route
from manager.api.services.view import spec_view
from manager.domain.service_change import abort_update
from manager.store.transaction import Transaction
from manager.store.view import View

_PAUSED = {
    UpdateState.UPDATING: UpdateState.PAUSED,
    UpdateState.ROLLBACK_STARTED: UpdateState.ROLLBACK_PAUSED,
}
_PASSES_CANARY = (CanaryHolds, TasksFailed, NoProgress)
_RESUMED = {paused: active for active, paused in _PAUSED.items()}


async def rollout(context: Context, call: Call) -> Reply:
    """Pause an update, let it go on, or abort it: return to the specification before it."""
    index = call.index("service")
    action = call.query.get("action", "")
    if action not in ACTIONS:
        raise invalid(f"unrecognized action {action!r}: expected one of {', '.join(ACTIONS)}")
    now = context.clock.now()

    def step(tx: Transaction) -> None:
        service = find_service(tx, call.params["id"])
        if not service.is_current(index):
            raise OutOfSequence
        tx.put(ACTIONS[action](tx, service, now, call.caller.name))

    await context.store.update(step)
    return Answer()


def _pause(_view: View, service: Service, _now: float, by: str) -> Service:
    status = service.update_status
    if status is None or status.state not in _PAUSED:
        raise FailedPrecondition(f"service {service.name} has no update under way: there is nothing to pause")
    reason = Requested(action=Action.PAUSE, by=by)
    paused = msgspec.structs.replace(status, state=_PAUSED[status.state], reason=reason, remark=None, message="")
    return _with(service, paused)


def _continue(_view: View, service: Service, now: float, _by: str) -> Service:
    """Resume a paused update: earlier failures do not count, and a canary that held or failed is passed."""
    status = service.update_status
    if status is None or status.state not in _RESUMED:
        raise FailedPrecondition(f"service {service.name} has no paused update: there is nothing to continue")
    resumed = msgspec.structs.replace(
        status,
        state=_RESUMED[status.state],
        reason=None,
        remark=None,
        message="",
        rollback_refused="",
        resumed_at=now,
        promoted=status.promoted or bool(status.held_at) or isinstance(status.reason, _PASSES_CANARY),
        held_at=0.0,
    )
    return _with(service, resumed)


def _with(service: Service, status: UpdateStatus) -> Service:
    return msgspec.structs.replace(service, update_status=status)


ACTIONS: dict[str, Callable[[View, Service, float, str], Service]] = {
    "pause": _pause,
    "continue": _continue,
    "abort": abort_update,
}


async def history(context: Context, call: Call) -> Reply:
    """List the specifications that a service has and had, the newest first."""
    service = find_service(context.store.view, call.params["id"])
    present: dict[str, Any] = {"Revision": service.revision, "Spec": context.cache.get(service.spec, spec_view)}
    past = [
        {
            "Revision": each.revision,
            "Spec": context.cache.get(each.spec, spec_view),
            "ReplacedAt": rfc3339(each.replaced_at),
        }
        for each in service.history
    ]
    return Answer(value=[present, *past])


ROUTES = (
    Route("POST", "/services/{id}/rollout", rollout, needs=Role.OPERATOR),
    Route("GET", "/services/{id}/history", history, needs=Role.VIEWER, place=Place.STORE),
)

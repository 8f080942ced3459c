"""Moving tasks until they are spread evenly, on request. All of it is ours: the engine has no such paths.

`POST /services/{id}/rebalance` and `POST /swarm/rebalance`, with `?dryRun=1` to see the moves only; `GET
/swarm/rebalance` says how far it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from common.errors import FailedPrecondition
from common.model import Service
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.lookup import find_service
from manager.api.router import Route
from manager.domain.hostnames import node_name
from manager.schedule.balance import plan_moves, reason_to_stay
from manager.schedule.load import ClusterLoad
from manager.schedule.rank import default_strategy
from manager.store.transaction import Transaction
from manager.store.view import View


async def rebalance_service(context: Context, call: Call) -> Reply:
    """Rebalance one service; refuse one whose tasks are never moved, with the reason."""
    view = context.store.view
    service = find_service(view, call.params["id"])
    if reason := reason_to_stay(service, default_strategy(view)):
        raise FailedPrecondition(f"service {service.name} cannot be rebalanced: {reason}")
    return await _rebalance(context, call, [service])


async def rebalance_all(context: Context, call: Call) -> Reply:
    """Rebalance all services whose tasks may be moved."""
    view = context.store.view
    default = default_strategy(view)
    services = [service for service in view.services if not reason_to_stay(service, default)]
    return await _rebalance(context, call, services)


async def _rebalance(context: Context, call: Call, services: list[Service]) -> Reply:
    view = context.store.view
    if call.flag("dryRun"):
        return Answer(value={"Moves": _moves(view, services, context.clock.now())})
    ids = [service.id for service in services]

    def ask(tx: Transaction) -> list[str]:
        found = [service for service in map(tx.services.get, ids) if service is not None]
        for service in found:
            if not service.rebalancing:
                tx.put(msgspec.structs.replace(service, rebalancing=True))
        return [service.name for service in found]

    return Answer(202, {"Services": await context.store.update(ask)})


def _moves(view: View, services: Iterable[Service], now: float) -> list[dict[str, Any]]:
    return [
        {
            "ServiceID": move.task.service_id,
            "ServiceName": move.task.service_name,
            "Slot": move.task.slot,
            "From": node_name(view, move.task.node_id),
            "To": node_name(view, move.node_id),
        }
        for move in plan_moves(view, ClusterLoad.of(view), services, now)
    ]


async def progress(context: Context, _call: Call) -> Reply:
    """Name the services that are asked to be even, and count the tasks that are on the move."""
    view = context.store.view
    names = sorted(service.name for service in view.services if service.rebalancing and not service.pending_delete)
    moving = sum(1 for task in view.tasks if task.moving_to and task.live)
    return Answer(value={"Services": names, "Moving": moving})


ROUTES = (
    Route("POST", "/services/{id}/rebalance", rebalance_service, needs=Role.OPERATOR),
    Route("POST", "/swarm/rebalance", rebalance_all, needs=Role.OPERATOR),
    Route("GET", "/swarm/rebalance", progress, needs=Role.VIEWER),
)

"""/_ping, /version, /info, /system/df: the manager as an engine."""

from __future__ import annotations

from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.containers_list import warning_header
from manager.api.context import Context
from manager.api.proxy import ask_every, raw_query
from manager.api.router import MAX_API_VERSION, MIN_API_VERSION, Route
from manager.api.views.info import info_view, swarm_info_view, version_view

DF_SECONDS = 10.0


async def ping(context: Context, call: Call) -> Reply:
    """Answer the first question of every client. Only here is the swarm's state in the head."""
    view = context.store.view
    headers = {
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Builder-Version": "1",
        "Swarm": "active/manager" if len(view.clusters) else "inactive",
    }
    body = b"OK" if call.method == "GET" else b""
    return Answer(value=body, headers=headers, content_type="text/plain; charset=utf-8")


async def version(context: Context, _: Call) -> Reply:
    view = version_view(context.identity.version, context.host, MAX_API_VERSION, MIN_API_VERSION)
    return Answer(value=view)


async def info(context: Context, _: Call) -> Reply:
    view = context.store.view
    swarm = swarm_info_view(view, context.identity.node_id, context.identity.address)
    return Answer(value=info_view(view, context.identity.version, context.host, swarm, context.clock.now()))


async def disk_usage(context: Context, call: Call) -> Reply:
    """Add up what the engines say; a `Warning` header names the nodes that do not say."""
    query = raw_query(call)
    replies, reasons = await ask_every(
        context, "GET", "/system/df", version=call.version, query=query, seconds=DF_SECONDS
    )
    reasons |= {node_id: reply.message for node_id, reply in replies.items() if not reply.ok}
    totals: dict[str, list[object]] = {"Images": [], "Containers": [], "Volumes": [], "BuildCache": []}
    layers = 0
    for usage in (reply.json() for reply in replies.values() if reply.ok):
        layers += usage.get("LayersSize") or 0
        for name, items in totals.items():
            items.extend(usage.get(name) or ())
    return Answer(value={"LayersSize": layers, **totals}, headers=warning_header(context.store.view, reasons))


ROUTES = (
    Route("GET", "/_ping", ping, needs=Role.VIEWER),
    Route("HEAD", "/_ping", ping, needs=Role.VIEWER),
    Route("GET", "/version", version, needs=Role.VIEWER),
    Route("GET", "/info", info, needs=Role.VIEWER),
    Route("GET", "/system/df", disk_usage, needs=Role.VIEWER),
)

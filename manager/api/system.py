"""/_ping, /version, /info, /system/df: the manager as an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.containers.list import warning_header
from manager.api.context import Context
from manager.api.engine.presence import node_name
from manager.api.engine.proxy import EngineReply, raw_query, read_every
from manager.api.engine.types import BuildRecord, Container, DiskUsage, EngineInfo, Image, Volume
from manager.api.images.builder import builder_version, by_suitability
from manager.api.images.names import Naming
from manager.api.info import absent_swarm_view, info_view, swarm_info_view, version_view
from manager.api.router import MAX_API_VERSION, MIN_API_VERSION, Place, Route

DF_SECONDS = 10.0
INFO_SECONDS = 1.0
_USED: Mapping[str, type[Any]] = {
    "Images": Image,
    "Containers": Container,
    "Volumes": Volume,
    "BuildCache": BuildRecord,
}


async def ping(context: Context, call: Call) -> Reply:
    """Answer the first question of every client. Only here is the swarm's state in the head."""
    view = context.store.view
    headers = {
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Builder-Version": builder_version(context),
        "Swarm": "locked" if context.keys.locked else "active/manager" if len(view.clusters) else "inactive",
    }
    body = b"OK" if call.method == "GET" else b""
    return Answer(value=body, headers=headers, content_type="text/plain; charset=utf-8")


async def version(context: Context, _: Call) -> Reply:
    view = version_view(context.identity.version, context.host, MAX_API_VERSION, MIN_API_VERSION)
    return Answer(value=view)


async def info(context: Context, _: Call) -> Reply:
    """Add up what the engines say of themselves; of one that does not answer, a warning says so."""
    asked = None if context.standing.leads else ()  # the leader has the workers' sessions
    found, reasons = await read_every(
        context, "GET", "/info", _info, seconds=INFO_SECONDS, asked_by_client=False, node_ids=asked
    )
    view = context.store.view
    engines = [found[node.id] for node in by_suitability(context) if node.id in found]
    missing = [f"node {node_name(view, node_id)}: {reason}" for node_id, reason in sorted(reasons.items())]
    if context.keys.locked:
        swarm = absent_swarm_view("locked")
    else:
        swarm = swarm_info_view(view, context.identity.node_id, context.identity.address, context.standing.trouble)
    now = context.clock.now()
    return Answer(value=info_view(view, context.identity.version, context.host, swarm, now, engines, missing))


async def _info(reply: EngineReply) -> EngineInfo:
    return reply.read(EngineInfo)


async def disk_usage(context: Context, call: Call) -> Reply:
    """Add up what the engines say; a `Warning` header names the nodes that do not say."""
    query = raw_query(call)
    usages, reasons = await read_every(
        context, "GET", "/system/df", _usage, version=call.version, query=query, seconds=DF_SECONDS
    )
    naming = Naming.of(context.store.view)
    for node_id, (_, items) in usages.items():
        items["Images"] = [naming.shown(node_id, image) for image in items["Images"]]
    totals = {name: [item for _, items in usages.values() for item in items[name]] for name in _USED}
    layers = sum(size for size, _ in usages.values())
    return Answer(value={"LayersSize": layers, **totals}, headers=warning_header(context.store.view, reasons))


async def _usage(reply: EngineReply) -> tuple[int, dict[str, list[Any]]]:
    """Read one engine's answer: the size of its layers, and its lists."""
    usage = reply.parts(DiskUsage)
    return max(0, usage.get("LayersSize", 0)), {
        name: await reply.items(kind, usage.get(name)) for name, kind in _USED.items()
    }


ROUTES = (
    Route("GET", "/_ping", ping, needs=Role.VIEWER, place=Place.HERE),
    Route("HEAD", "/_ping", ping, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/version", version, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/info", info, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/system/df", disk_usage, needs=Role.VIEWER),
)

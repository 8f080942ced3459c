"""POST /volumes/prune: the manager picks what goes, and no engine: none of them knows whose data is in its volumes.

Without `all` only volumes go whose names an engine made up, whatever the client's version: Docker spared named ones
from version 23 on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from common.spec.volumes import is_anonymous
from manager.api.call import Answer, Call, Reply
from manager.api.containers.list import warning_header
from manager.api.context import Context
from manager.api.engine.presence import ready_ids
from manager.api.engine.proxy import EngineReply, ask, ask_all, merge_pruned
from manager.api.engine.types import DiskUsage, Pruned, Volume, VolumeList
from manager.api.volumes.forget import forget
from manager.domain.volume_claims import holders

PRUNE_SECONDS = 120.0
_FILTERS = frozenset({"all", "label", "label!"})
_ANONYMOUS_LABEL = "com.docker.volume.anonymous"


async def prune_volumes(context: Context, call: Call) -> Reply:
    """Remove the volumes that nothing uses, on all nodes."""
    filters = call.filters(_FILTERS)
    everything = any(value.lower() in ("true", "1") for value in filters.get("all", ()))
    labels = {key: list(values) for key, values in filters.items() if key != "all"}

    async def one(node_id: str) -> Pruned:
        return await _prune(context, node_id, labels, everything=everything)

    results, reasons = await ask_all(one, ready_ids(context.store.view), seconds=PRUNE_SECONDS)
    value = merge_pruned("VolumesDeleted", results.values())
    value["VolumesDeleted"] = value["VolumesDeleted"] or []  # of all prunes the one that is never null
    return Answer(value=value, headers=warning_header(context.store.view, reasons))


async def _prune(context: Context, node_id: str, labels: Mapping[str, Any], *, everything: bool) -> Pruned:
    query = {"filters": json.dumps({"dangling": ["true"], **labels})}
    reply = await ask(context, node_id, "GET", "/volumes", query=query, seconds=None)
    if not reply.ok:
        raise reply.wrong(reply.message)
    unused = await reply.items(Volume, reply.parts(VolumeList).get("Volumes"))
    chosen = [each["Name"] for each in unused if _may_go(context, node_id, each, everything=everything)]
    sizes = await _sizes(context, node_id) if chosen else {}
    removed = [name for name in chosen if await _remove(context, node_id, name)]
    return Pruned(VolumesDeleted=removed, SpaceReclaimed=sum(max(0, sizes.get(name, 0)) for name in removed))


def _may_go(context: Context, node_id: str, volume: Volume, *, everything: bool) -> bool:
    """Whether nobody's data is in a volume that no container uses now."""
    name = volume["Name"]
    anonymous = is_anonymous(name) or _ANONYMOUS_LABEL in (volume.get("Labels") or {})
    return (anonymous or everything) and not holders(node_id, name, context.store.view)


async def _sizes(context: Context, node_id: str) -> Mapping[str, int]:
    reply: EngineReply = await ask(context, node_id, "GET", "/system/df", query={"type": "volume"}, seconds=None)
    found = await reply.items(Volume, reply.parts(DiskUsage).get("Volumes")) if reply.ok else []
    return {each["Name"]: (each.get("UsageData") or {}).get("Size", 0) for each in found}


async def _remove(context: Context, node_id: str, name: str) -> bool:
    """Remove a volume, unless something has come to use it meanwhile."""
    if holders(node_id, name, context.store.view):
        return False
    reply = await ask(context, node_id, "DELETE", f"/volumes/{quote(name, safe='')}", seconds=None)
    if reply.ok:
        await forget(context, node_id, name)
    return reply.ok

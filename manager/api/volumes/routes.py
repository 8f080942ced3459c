"""/volumes: the volumes of all nodes. A volume is one node's; several nodes may each have one of the same name.

`NODE/NAME` means the one on that node; a name alone means the only one of that name.

What `prune` removes is the manager's choice, not an engine's: none of them knows whose data is in its volumes.

Without `all` only volumes go whose names an engine made up, whatever the client's version: Docker spared named ones
from version 23 on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

from common.model.client import Role
from common.spec.volumes import is_anonymous
from manager.api.call import JSON, Answer, Call, Reply
from manager.api.containers.list import read_list, warning_header, with_node
from manager.api.containers.place import NodeFacts, place
from manager.api.containers.request import RequestedContainer
from manager.api.context import Context
from manager.api.engine.presence import ready_ids, ready_nodes
from manager.api.engine.proxy import EngineReply, ask, ask_all, merge_pruned, raw_query, read_every
from manager.api.engine.types import DiskUsage, Pruned, Volume, VolumeList
from manager.api.engine.types import Volume as ListedVolume
from manager.api.errors import EngineError, invalid
from manager.api.http.body import parse
from manager.api.logs.stream import TASK_LABEL
from manager.api.router import Route
from manager.api.volumes import records
from manager.api.volumes.find import VOLUME_SECONDS, find, only, split
from manager.api.volumes.records import forget
from manager.domain.hostnames import node_name
from manager.domain.transfers import transfer_under_way
from manager.domain.volume_claims import holders, is_old
from manager.store.view import View

_FILTERS = frozenset({"dangling", "driver", "label", "name"})


async def list_volumes(context: Context, call: Call) -> Reply:
    """List every node's volumes, each with its node as a label; nodes that do not answer are named in `Warnings`.

    `EngineWarnings` are those of the engines alone, for clients to which the header says which nodes are missing.
    """
    filters = call.filters(_FILTERS)
    results, reasons = await read_every(
        context, "GET", "/volumes", _read_volumes, version=call.version, query=raw_query(call), seconds=VOLUME_SECONDS
    )
    view = context.store.view
    volumes: list[dict[str, Any]] = []
    missing = [f"node {node_name(view, node_id)}: {reason}" for node_id, reason in reasons.items()]
    warnings: list[str] = []
    for node_id, (found, said) in results.items():
        name = node_name(view, node_id)
        volumes += [_with_records(with_node(volume, name), node_id, volume["Name"], view) for volume in found]
        warnings += [f"node {name}: {warning}" for warning in said]
    known = {(node_id, volume["Name"]) for node_id, (found, _) in results.items() for volume in found}
    for copy in records.unanswered(view, set(results), known, filters):
        volume = with_node(records.listed(copy), node_name(view, copy.node_id))
        volumes.append(_with_records(volume, copy.node_id, copy.name, view))
    volumes.sort(key=lambda volume: str(volume["Name"]))
    answer: dict[str, Any] = {"Volumes": volumes, "Warnings": [*missing, *warnings] or None}
    if warnings:
        answer["EngineWarnings"] = warnings
    return Answer(value=answer, headers=warning_header(view, reasons))


def _with_records(volume: dict[str, Any], node_id: str, name: str, view: View) -> dict[str, Any]:
    """Add to an engine's view of a volume what the cluster knows of it."""
    status = records.status(node_id, name, view)
    volume = {**volume, **records.usage(node_id, name, view)}
    return {**volume, "Status": {**(volume.get("Status") or {}), **status}} if status else volume


async def _read_volumes(reply: EngineReply) -> tuple[list[ListedVolume], list[str]]:
    """Read one engine's list: its volumes, and its warnings."""
    answer = reply.parts(VolumeList)
    return await reply.items(ListedVolume, answer.get("Volumes")), answer.get("Warnings") or []


async def create_volume(context: Context, call: Call) -> Reply:
    """Make a volume: on the node that is named, else where one of its name is, else where there is the least to do."""
    call.require_json()
    body = parse(call.body)
    if not isinstance(body, dict):
        raise invalid("invalid JSON: expected an object (VolumeCreate)")
    key = next((key for key in body if key.lower() == "name"), "Name")
    node_id, name = split(context, str(body.get(key) or ""))
    if not node_id and name:
        node_id = next((volume.node_id for volume in await find(context, "", name)), "")
    if not node_id:
        nodes = {node.id: NodeFacts(image=True) for node in ready_nodes(context.store.view)}
        node_id = place(context.store.view, RequestedContainer("", "", {}), nodes, ())
    content = msgspec.json.encode({**body, key: name})
    headers = {"content-type": JSON}
    reply = await ask(context, node_id, "POST", "/volumes/create", version=call.version, body=content, headers=headers)
    if not reply.ok:
        return reply.answer()
    return Answer(reply.status, with_node(reply.read(ListedVolume), node_name(context.store.view, node_id)))


async def inspect_volume(context: Context, call: Call) -> Reply:
    node_id, name = split(context, call.params["name"])
    volume = only(context, call.params["name"], await find(context, node_id, name))
    view = context.store.view
    found = with_node(volume.view, node_name(view, volume.node_id))
    return Answer(value=_with_records(found, volume.node_id, volume.name, view))


async def remove_volume(context: Context, call: Call) -> Reply:
    """Remove a volume; with `force` one that there is not is removed, as for the engine."""
    node_id, name = split(context, call.params["name"])
    found = await find(context, node_id, name)
    if not found and (await records.forget_missing(context, node_id, name) or call.flag("force")):
        return Answer(204)
    volume = only(context, call.params["name"], found)
    if used := holders(volume.node_id, volume.name, context.store.view):
        release = f"swarm-manager volume release {node_name(context.store.view, volume.node_id)}/{volume.name}"
        raise EngineError(409, f"volume {volume.name} has the data of {', '.join(used)}: {release} first")
    if moving := transfer_under_way(volume.node_id, volume.name, context.store.view):
        ends = f"swarm-manager volume cancel {moving.id}"
        raise EngineError(409, f"volume {volume.name} is being {moving.participle}: wait for it, or {ends} first")
    path = f"/volumes/{quote(volume.name, safe='')}"
    reply = await ask(context, volume.node_id, "DELETE", path, version=call.version, query=raw_query(call))
    if reply.status == HTTPStatus.CONFLICT and await _discard_ended_tasks(context, volume.node_id, volume.name):
        reply = await ask(context, volume.node_id, "DELETE", path, version=call.version, query=raw_query(call))
    if reply.ok:
        await forget(context, volume.node_id, volume.name)
    return reply.answer()


async def _discard_ended_tasks(context: Context, node_id: str, name: str) -> bool:
    """Remove the ended containers of tasks that still have an old copy, as they are kept for their logs.

    Returns whether there were any. Of data that may count for somebody none are removed.
    """
    if not is_old(node_id, name, context.store.view):
        return False
    filters = {"volume": [name], "label": [TASK_LABEL], "status": ["exited", "dead", "created"]}
    query = {"all": "1", "filters": json.dumps(filters)}
    reply = await ask(context, node_id, "GET", "/containers/json", query=query)
    ended = await read_list(reply) if reply.ok else []
    for each in ended:
        await ask(context, node_id, "DELETE", f"/containers/{each['Id']}")
    return bool(ended)


PRUNE_SECONDS = 120.0
_PRUNE_FILTERS = frozenset({"all", "label", "label!"})
_ANONYMOUS_LABEL = "com.docker.volume.anonymous"


async def prune_volumes(context: Context, call: Call) -> Reply:
    """Remove the volumes that nothing uses, on all nodes."""
    filters = call.filters(_PRUNE_FILTERS)
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
    return (anonymous or everything) and not _is_needed(context, node_id, name)


def _is_needed(context: Context, node_id: str, name: str) -> bool:
    """Whether a slot's data is in a volume, or it is being moved or copied."""
    view = context.store.view
    return bool(holders(node_id, name, view)) or transfer_under_way(node_id, name, view) is not None


async def _sizes(context: Context, node_id: str) -> Mapping[str, int]:
    reply: EngineReply = await ask(context, node_id, "GET", "/system/df", query={"type": "volume"}, seconds=None)
    found = await reply.items(Volume, reply.parts(DiskUsage).get("Volumes")) if reply.ok else []
    return {each["Name"]: (each.get("UsageData") or {}).get("Size", 0) for each in found}


async def _remove(context: Context, node_id: str, name: str) -> bool:
    """Remove a volume, unless something has come to use it meanwhile."""
    if _is_needed(context, node_id, name):
        return False
    reply = await ask(context, node_id, "DELETE", f"/volumes/{quote(name, safe='')}", seconds=None)
    if reply.ok:
        await forget(context, node_id, name)
    return reply.ok


ROUTES = (
    Route("GET", "/volumes", list_volumes, needs=Role.VIEWER),
    Route("POST", "/volumes/create", create_volume, needs=Role.OPERATOR),
    Route("POST", "/volumes/prune", prune_volumes, needs=Role.OPERATOR),
    Route("GET", "/volumes/{name+}", inspect_volume, needs=Role.VIEWER),
    Route("DELETE", "/volumes/{name+}", remove_volume, needs=Role.OPERATOR),
)

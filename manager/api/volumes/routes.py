"""/volumes: the volumes of all nodes. A volume is one node's; several nodes may each have one of the same name.

`NODE/NAME` means the one on that node; a name alone means the only one of that name.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from common.model.client import Role
from manager.api.call import JSON, Answer, Call, Reply
from manager.api.containers.list import warning_header, with_node
from manager.api.containers.place import NodeFacts, place
from manager.api.containers.request import RequestedContainer
from manager.api.context import Context
from manager.api.engine.presence import node_name, ready_nodes
from manager.api.engine.proxy import EngineReply, ask, raw_query, read_every
from manager.api.engine.types import Volume as ListedVolume
from manager.api.engine.types import VolumeList
from manager.api.errors import EngineError, invalid
from manager.api.http.body import parse
from manager.api.router import Route
from manager.api.volumes import records
from manager.api.volumes.find import VOLUME_SECONDS, find, only, split
from manager.api.volumes.forget import forget
from manager.api.volumes.prune import prune_volumes
from manager.domain.volume_claims import holders
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
    if not found and call.flag("force"):
        return Answer(204)
    volume = only(context, call.params["name"], found)
    if used := holders(volume.node_id, volume.name, context.store.view):
        release = f"swarm-manager volume release {node_name(context.store.view, volume.node_id)}/{volume.name}"
        raise EngineError(409, f"volume {volume.name} has the data of {', '.join(used)}: {release} first")
    path = f"/volumes/{quote(volume.name, safe='')}"
    reply = await ask(context, volume.node_id, "DELETE", path, version=call.version, query=raw_query(call))
    if reply.ok:
        await forget(context, volume.node_id, volume.name)
    return reply.answer()


ROUTES = (
    Route("GET", "/volumes", list_volumes, needs=Role.VIEWER),
    Route("POST", "/volumes/create", create_volume, needs=Role.OPERATOR),
    Route("POST", "/volumes/prune", prune_volumes, needs=Role.OPERATOR),
    Route("GET", "/volumes/{name+}", inspect_volume, needs=Role.VIEWER),
    Route("DELETE", "/volumes/{name+}", remove_volume, needs=Role.OPERATOR),
)

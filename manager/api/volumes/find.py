"""Finds the volume that a client means, by its name or by NODE/NAME."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from manager.api.context import Context
from manager.api.engine.presence import ready_ids
from manager.api.engine.proxy import ask, ask_all
from manager.api.engine.types import Volume as ListedVolume
from manager.api.errors import EngineError
from manager.api.volumes.records import ambiguous
from manager.domain.hostnames import node_name

VOLUME_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that a client means: its node, its name there, and the engine's view of it."""

    node_id: str
    name: str
    view: Mapping[str, Any]


def split(context: Context, reference: str) -> tuple[str, str]:
    """Split `NODE/NAME` into the node's id, empty when none is named, and the name.

    Raises:
        EngineError: 404, there is no such node.

    """
    node, slash, name = reference.rpartition("/")
    if not slash:
        return "", name
    for each in context.store.view.nodes:
        if node in {each.id, each.name}:
            return each.id, name
    raise EngineError(404, f"get {reference}: no such volume: there is no node {node}")


async def find(context: Context, node_id: str, name: str) -> list[Volume]:
    """Return the volumes of a name, on one node or on all that answer."""
    path, nodes = f"/volumes/{quote(name, safe='')}", [node_id] if node_id else ready_ids(context.store.view)

    async def one(node_id: str) -> ListedVolume | None:
        reply = await ask(context, node_id, "GET", path, seconds=None)
        return reply.read(ListedVolume) if reply.ok else None

    results, reasons = await ask_all(one, nodes, seconds=VOLUME_SECONDS)
    if node_id and reasons:
        raise EngineError(503, f"node {node_name(context.store.view, node_id)}: {reasons[node_id]}")
    return [Volume(each, name, view) for each, view in results.items() if view is not None]


def only(context: Context, reference: str, found: list[Volume]) -> Volume:
    if not found:
        raise EngineError(404, f"get {reference}: no such volume")
    if len(found) > 1:
        raise ambiguous(reference, ((one.node_id, one.name) for one in found), context.store.view)
    return found[0]

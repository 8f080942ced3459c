"""GET /containers/json: every node's list, merged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from common.model.client import Role
from common.model.service import EXTENSION_PREFIX
from manager.api.call import Answer, Call, Filters, Reply
from manager.api.containers_image import by_ids, with_image
from manager.api.containers_locate import locate
from manager.api.containers_owner import complaints, settle
from manager.api.context import Context
from manager.api.engine_types import Container
from manager.api.errors import EngineError, invalid
from manager.api.proxy import EngineReply, ask, read_every
from manager.api.proxy_presence import node_name, ready_nodes
from manager.api.router import Route
from manager.api.views.attachments import in_network, with_cluster_networks
from manager.state.view import View

LIST_SECONDS = 5.0
# In what clients are shown, never on the engine: where the container is.
NODE_LABEL = EXTENSION_PREFIX + "node"
_FILTERS = frozenset(
    {
        "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
        "node", "publish", "since", "status", "volume",
    }
)  # fmt: skip
# What a person reads of one node, and of all; what no header may have.
_MAX_REASON, _MAX_WARNING = 300, 4096
_NOT_IN_HEADERS = re.compile(r"[^ -\[\]-~]")
# Judged here: they name one container of the cluster, or a node.
_OURS = frozenset({"before", "since", "network", "node"})


async def list_containers(context: Context, call: Call) -> Reply:
    """List the containers of all nodes, the newest first; a `Warning` header names nodes that did not answer."""
    filters = _node_labels(call.filters(_FILTERS))
    limit = _limit(call)
    newest, oldest = await _bound(context, filters, "before"), await _bound(context, filters, "since")
    every = call.flag("all") or bool(limit) or "before" in filters or "since" in filters
    query = {"all": "1"} if every else {}
    if limit and not {"before", "network", "since"} & filters.keys():
        query["limit"] = str(limit)
    if call.flag("size"):
        query["size"] = "1"
    passed = {name: sorted(values) for name, values in filters.items() if name not in _OURS}
    if "ancestor" in filters:
        passed["ancestor"] = await by_ids(context, filters["ancestor"])
    if passed:
        query["filters"] = msgspec.json.encode(passed).decode()
    found, warning = await every_list(context, query, call.version, filters.get("node"))
    shown = [each for each in found if oldest < each["Created"] < newest or (newest, oldest) == _UNBOUND]
    if "network" in filters:
        shown = [each for each in shown if in_network(each, filters["network"])]
    shown.sort(key=lambda each: (-each["Created"], each["Id"]))
    return Answer(value=shown[:limit] if limit else shown, headers=warning)


_UNBOUND = (2.0**63, -1.0)


async def every_list(
    context: Context, query: Mapping[str, str], version: str = "", only: frozenset[str] | None = None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Ask the nodes (those in `only`, by name or id) for their containers.

    Returns the entries, each with its node's label, and a `Warning` header that says which nodes' are missing.

    Raises:
        EngineError: an engine refuses the query.

    """
    view = context.store.view
    nodes = [node.id for node in ready_nodes(view) if not only or {node.id, node.name} & only]
    results, reasons = await read_every(
        *(context, "GET", "/containers/json", listed),
        version=version,
        query=query,
        seconds=LIST_SECONDS,
        node_ids=nodes,
    )
    ids = {node_id: frozenset(entry["Id"] for entry in found) for node_id, found in results.items()}
    others = settle(context.containers, view, ids, whole=query == {"all": "1"})
    entries: list[dict[str, Any]] = []
    for node_id, found in results.items():
        for entry in found:
            if (node_id, entry["Id"]) not in others:
                named = with_node(with_image(view, entry), node_name(view, node_id))
                entries.append(with_cluster_networks(view, named))
    return entries, warning_header(view, {**reasons, **complaints(view, others)})


async def listed(reply: EngineReply) -> list[Container]:
    """Read an engine's list of containers."""
    return await reply.listed(Container)


def with_node(entry: Mapping[str, Any], node: str) -> dict[str, Any]:
    """Add the label that tells a container's node."""
    return {**entry, "Labels": {**(entry.get("Labels") or {}), NODE_LABEL: node}}


def warning_header(view: View, reasons: Mapping[str, str]) -> dict[str, str]:
    """Say which nodes' part of an answer is missing: those that did not answer, and those that are known to be away."""
    missing = {node_name(view, node_id): reason for node_id, reason in reasons.items()}
    missing |= {node.name: node.status.state for node in view.nodes if node.agent and node.status.state != "ready"}
    if not missing:
        return {}
    text = "; ".join(f"{name}: {reason[:_MAX_REASON]}" for name, reason in sorted(missing.items()))
    if len(text) > _MAX_WARNING:
        text = text[:_MAX_WARNING] + " …"
    clean = _NOT_IN_HEADERS.sub("?", " ".join(text.replace("…", "...").replace('"', "'").split()))
    return {"Warning": f'199 swarm-manager "not complete: {clean}"'}


def _node_labels(filters: Filters) -> dict[str, frozenset[str]]:
    """Turn a filter by the label that only our view has into one by node."""
    labels = filters.get("label", frozenset())
    ours = {label for label in labels if label.partition("=")[0] == NODE_LABEL}
    nodes = {label.partition("=")[2] for label in ours} - {""}
    merged = {**filters, "label": labels - ours, "node": filters.get("node", frozenset()) | nodes}
    return {name: values for name, values in merged.items() if values}


def _limit(call: Call) -> int:
    text = call.query.get("limit", "") or "0"
    try:
        return max(0, int(text))
    except ValueError:
        raise EngineError(400, f'strconv.Atoi: parsing "{text[:100]}": invalid syntax') from None


async def _bound(context: Context, filters: Filters, name: str) -> float:
    """Return the time of creation of the container that a `before` or `since` filter names."""
    if name not in filters:
        return _UNBOUND[0] if name == "before" else _UNBOUND[1]
    if len(filters[name]) > 1:
        raise invalid(f"invalid filter '{name}': more than one container")
    found = await locate(context, next(iter(filters[name])))
    query = {"all": "1", "filters": msgspec.json.encode({"id": [found.id]}).decode()}
    reply = await ask(context, found.node_id, "GET", "/containers/json", query=query)
    if not reply.ok or not (entries := await listed(reply)):
        raise EngineError(404, f"No such container: {found.id}")
    return float(entries[0]["Created"])


ROUTES = (Route("GET", "/containers/json", list_containers, needs=Role.VIEWER),)

"""GET /containers/json: every node's list, merged."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import msgspec

from common.model.client import Role
from common.model.service import EXTENSION_PREFIX
from manager.api.call import Answer, Call, Filters, Reply, warning
from manager.api.containers.ages import created_between, newest_first
from manager.api.containers.image import as_image_ids, with_image
from manager.api.containers.locate import misclaim_reasons, resolve_owners
from manager.api.context import Context
from manager.api.engine.presence import ready_nodes
from manager.api.engine.proxy import EngineReply, read_every
from manager.api.engine.types import Container as Entry
from manager.api.errors import EngineError, invalid
from manager.api.logs.stream import TASK_LABEL
from manager.api.networks.view import in_network, with_cluster_networks
from manager.api.router import Route
from manager.domain.hostnames import node_name
from manager.store.view import View

LIST_SECONDS = 5.0
# A label that clients are shown and engines do not have: the container's node.
NODE_LABEL = EXTENSION_PREFIX + "node"
_FILTERS = frozenset(
    {
        "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
        "node", "publish", "since", "status", "volume",
    }
)  # fmt: skip
# Characters of the reason why a node is missing.
_MAX_REASON = 300
# Applied here: they name one container of the cluster, or what its engines do not know.
_OWN_FILTERS = frozenset({"before", "is-task", "since", "network", "node"})


async def list_containers(context: Context, call: Call) -> Reply:
    """List the containers of all nodes, the newest first; a `Warning` header names nodes that did not answer."""
    filters = _node_labels(call.filters(_FILTERS))
    limit = _limit(call)
    of_tasks = _of_tasks(filters)
    every = call.flag("all") or bool(limit) or "before" in filters or "since" in filters
    query = {"all": "1"} if every else {}
    if limit and not _OWN_FILTERS & filters.keys():
        query["limit"] = str(limit)
    if call.flag("size"):
        query["size"] = "1"
    passed = {name: sorted(values) for name, values in filters.items() if name not in _OWN_FILTERS}
    if "ancestor" in filters:
        passed["ancestor"] = as_image_ids(context.store.view, filters["ancestor"])
    if passed:
        query["filters"] = msgspec.json.encode(passed).decode()
    found, warning = await every_list(context, query, call.version, filters.get("node"))
    shown = await created_between(context, found, filters)
    if of_tasks is not None:
        shown = [each for each in shown if (TASK_LABEL in each["Labels"]) == of_tasks]
    if "network" in filters:
        shown = [each for each in shown if in_network(each, filters["network"])]
    return Answer(value=await newest_first(context, shown, limit), headers=warning)


async def every_list(
    context: Context, query: Mapping[str, str], version: str, only: frozenset[str] | None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Ask the nodes (those in `only`, by name or id) for their containers.

    Returns the entries, each with its node's label, and a `Warning` header that says which nodes' are missing.

    Raises:
        EngineError: an engine refuses the query.

    """
    view = context.store.view
    nodes = [node.id for node in ready_nodes(view) if not only or {node.id, node.name} & only]
    results, reasons = await read_every(
        context,
        "GET",
        "/containers/json",
        read_list,
        version=version,
        query=query,
        seconds=LIST_SECONDS,
        node_ids=nodes,
    )
    ids = {node_id: frozenset(entry["Id"] for entry in found) for node_id, found in results.items()}
    others = resolve_owners(context.containers, view, ids, whole=query == {"all": "1"})
    entries: list[dict[str, Any]] = []
    for node_id, found in results.items():
        for entry in found:
            if (node_id, entry["Id"]) not in others:
                named = with_node(with_image(view, entry), node_name(view, node_id))
                entries.append(with_cluster_networks(view, named))
    return entries, warning_header(view, {**reasons, **misclaim_reasons(view, others)}, only)


async def read_list(reply: EngineReply) -> list[Entry]:
    """Read an engine's list of containers."""
    return await reply.listed(Entry)


def with_node(entry: Mapping[str, Any], node: str) -> dict[str, Any]:
    """Add the label that tells a container's node."""
    return {**entry, "Labels": {**(entry.get("Labels") or {}), NODE_LABEL: node}}


def warning_header(view: View, reasons: Mapping[str, str], only: Container[str] | None = None) -> dict[str, str]:
    """Return the header that names the nodes missing from an answer: those that did not answer, or are not ready.

    `only`: the names and ids of the nodes that were asked for; others are not missing.
    """
    missing = {node_name(view, node_id): reason for node_id, reason in reasons.items()}
    away = [node for node in view.nodes if node.agent and node.status.state != "ready"]
    missing |= {node.name: node.status.state for node in away if not only or node.id in only or node.name in only}
    if not missing:
        return {}
    text = "; ".join(f"{name}: {reason[:_MAX_REASON]}" for name, reason in sorted(missing.items()))
    return warning(f"not complete: {text}")


def _node_labels(filters: Filters) -> dict[str, frozenset[str]]:
    """Turn a filter by the node's label, which engines do not have, into one by node."""
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


def _of_tasks(filters: Filters) -> bool | None:
    """Read `is-task`: whether the containers of tasks are wanted, or all others; None when that does not matter.

    Raises:
        EngineError: 400, it is neither true nor false.

    """
    values = filters.get("is-task", frozenset())
    yes, no = not values.isdisjoint(("1", "true")), not values.isdisjoint(("0", "false"))
    if values and yes == no:
        raise invalid(f"invalid filter 'is-task=[{' '.join(sorted(values))}]'")
    return yes if values else None


ROUTES = (Route("GET", "/containers/json", list_containers, needs=Role.VIEWER),)

"""/containers/{id}/…: what is done with one container, on whichever node it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from common.model.client import Role
from manager.api.call import Answer, Call, Relay, Reply
from manager.api.containers.attachments import attachment_of, wait_until_noticed
from manager.api.containers.image import with_image
from manager.api.containers.list import warning_header, with_node
from manager.api.containers.locate import Found, claim_name, locate
from manager.api.context import Context
from manager.api.engine.forward import forward
from manager.api.engine.hijack import hijack
from manager.api.engine.proxy import ask, merge_pruned, raw_query, read_every, read_pruned, without_hops
from manager.api.engine.types import ContainerInspect
from manager.api.errors import invalid
from manager.api.images.own import refuse_own
from manager.api.images.progress import Progress, ProgressListener
from manager.api.images.record import NameChange, record, tagged_name
from manager.api.networks.view import with_cluster_networks, with_names
from manager.api.router import Handler, Route
from manager.api.services.container_validation import is_image
from manager.domain.hostnames import node_name

PRUNE_SECONDS = 120.0
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})
# What is passed on as it is, to the node that has the container.
_READS = ("changes", "logs", "stats")
_STARTS = ("restart", "start")
_WRITES = ("kill", "pause", "resize", "stop", "unpause", "update", "wait")


def passing(suffix: str) -> Handler:
    """Make the handler that passes `/containers/{id}SUFFIX` on."""

    async def handler(context: Context, call: Call) -> Reply:
        found = await locate(context, call.params["id"])
        return forward(context, found.node_id, call, f"/containers/{found.id}{suffix}")

    return handler


def taking_over(suffix: str) -> Handler:
    """Make the handler for requests that turn their connection into a stream."""

    async def handler(context: Context, call: Call) -> Relay:
        found = await locate(context, call.params["id"])
        return hijack(context, found.node_id, call, f"/containers/{found.id}{suffix}")

    return handler


async def inspect_container(context: Context, call: Call) -> Reply:
    """Show a container as its engine does, and its node as `Node` and as a label."""
    found = await locate(context, call.params["id"])
    path = f"/containers/{found.id}/json"
    reply = await ask(context, found.node_id, "GET", path, version=call.version, query=raw_query(call))
    if not reply.ok:
        return reply.answer()
    read: Mapping[str, Any] = reply.read(ContainerInspect)
    view = context.store.view
    config = with_node(with_image(view, read.get("Config") or {}), node_name(view, found.node_id))
    shown = with_cluster_networks(view, {**read, "Config": config})
    shown = with_names(view, shown, attachment_of(view, found.id))
    return Answer(value={**shown, "Node": node_view(context, found)})


def node_view(context: Context, found: Found) -> dict[str, Any]:
    """Render where a container is, in the words of Docker's first, classic Swarm."""
    node = context.store.view.nodes.get(found.node_id)
    address = node.status.addr if node is not None else ""
    return {"ID": found.node_id, "Name": node_name(context.store.view, found.node_id), "IP": address, "Addr": address}


async def remove_container(context: Context, call: Call) -> Reply:
    found = await locate(context, call.params["id"])
    forget = partial(context.containers.forget, found.id)
    return forward(context, found.node_id, call, f"/containers/{found.id}", on_success=forget)


def starting(suffix: str) -> Handler:
    """Make the handler that starts a container: one in networks of the cluster has started when all hosts know it."""

    async def handler(context: Context, call: Call) -> Reply:
        found = await locate(context, call.params["id"])
        path = f"/containers/{found.id}{suffix}"
        if attachment_of(context.store.view, found.id) is None:
            return forward(context, found.node_id, call, path)
        reply = await ask(
            context,
            found.node_id,
            "POST",
            path,
            version=call.version,
            query=raw_query(call),
            body=call.body,
            headers=without_hops(call.headers),
            seconds=None,
        )
        if reply.ok:
            await wait_until_noticed(context, found.id)
        return reply.answer()

    return handler


async def rename_container(context: Context, call: Call) -> Reply:
    """Rename a container; a name is taken once in the whole cluster."""
    found = await locate(context, call.params["id"])
    name = call.query.get("name", "")
    async with claim_name(context, name, found.node_id, except_id=found.id):
        path = f"/containers/{found.id}/rename"
        reply = await ask(context, found.node_id, "POST", path, version=call.version, query={"name": name})
    if reply.ok:
        context.containers.rename(found.id, name.removeprefix("/"))
    return reply.answer()


async def commit(context: Context, call: Call) -> Reply:
    """Make an image of a container, on the node where it is; its name is the cluster's."""
    reference = call.query.get("container", "")
    if not reference:
        raise invalid("commit: the query does not name a container")
    names = [tagged_name(call.query)] if call.query.get("repo") else []
    refuse_own(names)
    found = await locate(context, reference)
    given = parse_qsl(raw_query(call), keep_blank_values=True)
    query = urlencode([("container", found.id), *(pair for pair in given if pair[0] != "container")])

    async def committed(_: Progress) -> None:
        await record(context, NameChange("commit", call.caller, found.node_id), filter(is_image, names))

    return forward(context, found.node_id, call, "/commit", query=query, listener=ProgressListener(committed))


async def prune_containers(context: Context, call: Call) -> Reply:
    """Remove what has ended, on every node that answers."""
    call.filters(_PRUNE_FILTERS)
    query = raw_query(call)
    results, reasons = await read_every(
        context, "POST", "/containers/prune", read_pruned, version=call.version, query=query, seconds=PRUNE_SECONDS
    )
    for node_id, result in results.items():
        for full_id in result.get("ContainersDeleted") or ():
            context.containers.forget(full_id, node_id)
    value = merge_pruned("ContainersDeleted", results.values())
    return Answer(value=value, headers=warning_header(context.store.view, reasons))


ROUTES = (
    Route("POST", "/containers/prune", prune_containers, needs=Role.OPERATOR),
    Route("GET", "/containers/{id}/json", inspect_container, needs=Role.VIEWER),
    Route("POST", "/containers/{id}/rename", rename_container, needs=Role.OPERATOR),
    Route("DELETE", "/containers/{id}", remove_container, needs=Role.OPERATOR),
    Route("POST", "/commit", commit, needs=Role.OPERATOR),
    Route("POST", "/containers/{id}/attach", taking_over("/attach"), needs=Role.OPERATOR),
    Route("GET", "/containers/{id}/attach/ws", taking_over("/attach/ws"), needs=Role.OPERATOR),
    Route("HEAD", "/containers/{id}/archive", passing("/archive"), needs=Role.OPERATOR),
    Route("GET", "/containers/{id}/archive", passing("/archive"), needs=Role.OPERATOR),
    Route("PUT", "/containers/{id}/archive", passing("/archive"), raw=True, needs=Role.OPERATOR),
    # A container's files and its processes' arguments and environment (`ps e`) are not for viewers.
    Route("GET", "/containers/{id}/export", passing("/export"), needs=Role.OPERATOR),
    Route("GET", "/containers/{id}/top", passing("/top"), needs=Role.OPERATOR),
    *(Route("GET", f"/containers/{{id}}/{name}", passing(f"/{name}"), needs=Role.VIEWER) for name in _READS),
    *(Route("POST", f"/containers/{{id}}/{name}", passing(f"/{name}"), needs=Role.OPERATOR) for name in _WRITES),
    *(Route("POST", f"/containers/{{id}}/{name}", starting(f"/{name}"), needs=Role.OPERATOR) for name in _STARTS),
)

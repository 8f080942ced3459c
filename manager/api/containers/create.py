"""POST /containers/create: choose a node, and have its engine create the container in its networks of the cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from common.errors import SwarmError, Unavailable
from common.model.client import Role
from manager.api.call import JSON, Call, Reply
from manager.api.containers.attachments import attach_container, bind
from manager.api.containers.image import NodeImage, ensure_image, resolve_image, with_image_id
from manager.api.containers.index import Claim
from manager.api.containers.list import LIST_SECONDS, read_list
from manager.api.containers.locate import check_claims, check_name, locate, remember_created
from manager.api.containers.networks import check_addresses, engine_ends, with_networks
from manager.api.containers.place import NodeFacts, place
from manager.api.containers.request import RequestedContainer, engine_body, read
from manager.api.context import Context
from manager.api.engine.presence import ready_ids
from manager.api.engine.proxy import EngineReply, ask, ask_all
from manager.api.engine.types import Created, Volume, VolumeList
from manager.api.errors import EngineError, invalid
from manager.api.router import Route
from manager.domain.hostnames import node_name

CREATE_SECONDS = 180.0


async def create_container(context: Context, call: Call) -> Reply:
    """Create a container on the node that suits it best.

    A name that no client has given means what the chosen node makes of it: one that has no such image is the engine's
    `No such image` (404): clients pull it then, and ask again. Any other image the node fetches, or pulls.
    """
    wanted = read(call, context.store.view)
    started = context.clock.now()
    if wanted.name:
        check_claims(context, wanted.name, started)
        await check_name(context, wanted.name)
    meant = await resolve_image(context, wanted.image) if wanted.image else None
    seen = await _survey_nodes(context, wanted, meant.nodes if meant is not None else ())
    try:
        only = await _required_node(context, wanted)
    except EngineError:
        if meant is not None and not meant.image_id:  # an engine looks for the image first
            await ensure_image(context, place(context.store.view, wanted, seen, ()), meant)
        raise
    if meant is not None and meant.there:
        only = _intersection(only, frozenset({meant.there}))
    # From here to the claim nothing is awaited: two requests at once cannot take the same name or port.
    check_claims(context, wanted.name, started)
    only = _intersection(only, check_addresses(context.store.view, wanted.networks))
    node_id = place(context.store.view, wanted, seen, context.containers.claims(started), only)
    claim = Claim(node_id, wanted.name, wanted.ports, wanted.nano_cpus, wanted.memory)
    context.containers.claim(claim)
    try:
        image = await ensure_image(context, node_id, meant) if meant is not None else NodeImage("")
        body = engine_body(wanted, image.labels)
        if image.reference != wanted.image:
            body = with_image_id(body, image.reference, wanted.image)
        reply = await (create_attached if wanted.networks else create_on_node)(context, call, node_id, wanted, body)
    except BaseException:
        context.containers.release(claim)
        raise
    context.containers.finish(claim, context.clock.now())
    made = reply.read(Created)["Id"]
    if not remember_created(context.containers, context.store.view, made, node_id, wanted.name):
        raise reply.wrong(f"the new container has the id {made[:12]}, which belongs to a container of another node")
    return reply.answer()


async def _required_node(context: Context, wanted: RequestedContainer) -> frozenset[str] | None:
    """Return the node that the container must be on, as it shares something with containers there; None: any node.

    Links within a network of the cluster reach all nodes.

    Raises:
        EngineError: 400, there is no such container (clients would take a 404 for a missing image); 409, they are on
            different nodes.

    """
    others = dict.fromkeys(wanted.beside, "")
    others |= {link.target: f"could not get container for {link.target}: " for link in wanted.links}
    nodes = set()
    for reference, prefix in others.items():
        try:
            found = await locate(context, reference)
        except EngineError as error:
            raise invalid(f"{prefix}{error.message}") from None
        if reference in wanted.beside or not wanted.networks:
            nodes.add(found.node_id)
    if len(nodes) > 1:
        names = ", ".join(sorted(node_name(context.store.view, node_id) for node_id in nodes))
        raise EngineError(409, f"the containers {', '.join(others)} are on different nodes: {names}")
    return frozenset(nodes) or None


async def _survey_nodes(context: Context, wanted: RequestedContainer, holding: Collection[str]) -> dict[str, NodeFacts]:
    """Ask every node what it runs and which of the volumes it has; `holding` are the nodes that hold the image.

    Raises:
        Unavailable: no engine can be asked.

    """

    async def one(node_id: str) -> NodeFacts:
        containers = await ask(context, node_id, "GET", "/containers/json", query={"all": "1"})
        if not containers.ok:  # it would seem to have the least to do
            raise Unavailable(f"node {containers.node}: {containers.message}")
        volumes = await _volumes(context, node_id, wanted)
        return NodeFacts(tuple(await read_list(containers)), node_id in holding, volumes)

    seen, reasons = await ask_all(one, ready_ids(context.store.view), seconds=LIST_SECONDS)
    if reasons and not seen:
        raise Unavailable(f"no node's engine can be reached: {'; '.join(reasons.values())}")
    return seen


async def _volumes(context: Context, node_id: str, wanted: RequestedContainer) -> frozenset[str]:
    if not wanted.volumes:
        return frozenset()
    reply = await ask(context, node_id, "GET", "/volumes")
    found = await reply.items(Volume, reply.parts(VolumeList).get("Volumes")) if reply.ok else []
    return frozenset(volume["Name"] for volume in found) & set(wanted.volumes)


def _intersection(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Return the nodes in both; None stands for all."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


async def create_on_node(
    context: Context, call: Call, node_id: str, _wanted: RequestedContainer, body: Mapping[str, Any]
) -> EngineReply:
    """Have the engine create a container; `body` is sent as it is.

    Raises:
        EngineError: the engine's own.
        Unavailable: the node cannot be reached.

    """
    reply = await ask(
        context,
        node_id,
        "POST",
        "/containers/create",
        version=call.version,
        query=call.query,
        body=msgspec.json.encode(body),
        headers={"content-type": JSON},
        seconds=CREATE_SECONDS,
    )
    if not reply.ok:
        raise reply.error()
    return reply


async def create_attached(
    context: Context, call: Call, node_id: str, wanted: RequestedContainer, body: Mapping[str, Any]
) -> EngineReply:
    """Have the engine create a container in networks of the cluster.

    Errors as `create_on_node` and `attach_container`.
    """
    async with attach_container(context, wanted.attachment(node_id)) as attachment:
        first, *others = engine_ends(attachment, wanted.endpoints)
        reply = await create_on_node(context, call, node_id, wanted, with_networks(body, attachment, first))
        container_id = reply.read(Created)["Id"]
        try:
            for network, endpoint in others:
                await connect(context, node_id, container_id, network, endpoint)
            await bind(context, attachment.id, container_id)
        except BaseException:
            await remove_unfinished(context, node_id, container_id)
            raise
    return reply


async def connect(context: Context, node_id: str, container_id: str, network: str, endpoint: Mapping[str, Any]) -> None:
    """Connect a container to one of its engine's networks.

    Raises:
        EngineError: the engine's own.
        Unavailable: the node cannot be reached, or its network is not there.

    """
    body = msgspec.json.encode({"Container": container_id, "EndpointConfig": endpoint})
    path = f"/networks/{network}/connect"
    reply = await ask(context, node_id, "POST", path, body=body, headers={"content-type": JSON}, seconds=CREATE_SECONDS)
    if reply.status == HTTPStatus.NOT_FOUND:  # clients would take a 404 for a missing image
        raise Unavailable(f"the node's engine cannot connect the container: {reply.message}")
    if not reply.ok:
        raise reply.error()


async def remove_unfinished(context: Context, node_id: str, container_id: str) -> None:
    """Remove a container that could not be connected to all its networks."""
    query = {"force": "1", "v": "1"}
    try:
        await ask(context, node_id, "DELETE", f"/containers/{container_id}", query=query)
    except SwarmError:
        return  # the node is lost: when it is back it has the container, created and never started


ROUTES = (Route("POST", "/containers/create", create_container, needs=Role.OPERATOR),)

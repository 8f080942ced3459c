"""POST /networks/{id}/connect and /disconnect: containers that exist, on whichever node, in and out of networks."""

from __future__ import annotations

from typing import Any

import msgspec

from common.errors import NotFound
from common.ids import new_id
from common.model import Network, NetworkAttachment
from common.model.attachment import AttachedNetwork
from common.model.client import Role
from common.model.container import DnsConfig
from common.model.naming import Model
from common.net.engine_networks import GATEWAY_NETWORK, engine_network
from common.wire.messages import MESH
from manager.api.call import JSON, Answer, Call, Reply
from manager.api.containers.attachments import attachment_of, detach_network, join_network, runs, wait_until_noticed
from manager.api.containers.create import connect
from manager.api.containers.locate import Found, locate
from manager.api.containers.networks import attachable, check_addresses, endpoint, read_network
from manager.api.context import Context
from manager.api.engine.proxy import EngineReply, ask
from manager.api.engine.types import ContainerInspect
from manager.api.errors import EngineError
from manager.api.http.body import parse
from manager.api.logs.stream import TASK_LABEL
from manager.api.lookup import find_network
from manager.api.networks.view import predefined_name
from manager.api.router import Route
from manager.store.view import View


class Connect(Model):
    """The body of both requests."""

    container: str = ""
    endpoint_config: Any = None
    force: bool = False


async def connect_container(context: Context, call: Call) -> Reply:
    """Put a container into a network. One that has none that leads out of its host is given that, too."""
    asked = call.decode(Connect)
    found = await locate(context, asked.container)
    network = _network(context, call)
    if network is None:
        return await _pass_on(context, call, found)
    attachable(context.store.view, network.id)
    shown = await _inspect(context, found)
    _check(shown, network)
    own = read_network(network, asked.endpoint_config)
    _check_node(context, found, own)
    present = attachment_of(context.store.view, found.id)
    if not runs(shown) and present is not None and any(each.target == network.id for each in present.networks):
        return Answer(200)  # an engine leaves one that does not run as it is, and says nothing
    draft = _draft(context, found, shown)

    def wanted(view: View) -> NetworkAttachment:
        present = attachment_of(view, found.id) or draft
        if any(each.target == network.id for each in present.networks):
            raise EngineError(403, f"endpoint with name {present.name} already exists in network {network.name}")
        return msgspec.structs.replace(present, networks=(*present.networks, own))

    async with join_network(context, network.id, wanted) as ready:
        await _join(context, ready, network, own, shown, asked.endpoint_config)
    await wait_until_noticed(context, found.id)
    return Answer(200)


async def _join(
    context: Context, ready: NetworkAttachment, network: Network, own: AttachedNetwork, shown: Any, given: Any
) -> None:
    """Connect a container to a network that its node has prepared, the way out of the host first."""
    present = (shown.get("NetworkSettings") or {}).get("Networks") or {}
    way_out, end = ready.end_in(MESH), ready.end_in(network.id)
    assert end is not None, "it was prepared"
    if way_out is not None and way_out.network not in present:
        try:
            await connect(context, ready.node_id, ready.container, way_out.network, endpoint(way_out, None, None))
        except EngineError as error:
            if "already exists in network" not in error.message:  # another request has connected it meanwhile
                raise
    await connect(context, ready.node_id, ready.container, end.network, endpoint(end, own, given))


async def disconnect_container(context: Context, call: Call) -> Reply:
    """Take a container out of a network; with its last one goes its way out of the host."""
    asked = call.decode(Connect)
    found = await locate(context, asked.container)
    network = _network(context, call)
    if network is None:
        return await _pass_on(context, call, found)
    known = attachment_of(context.store.view, found.id)
    end = known.end_in(network.id) if known is not None else None
    if known is None or end is None:
        shown = await _inspect(context, found)
        _check(shown, network)
        raise EngineError(403, f"container {found.id} is not connected to network {network.name}")
    await _leave(context, known, end.network, force=asked.force)
    way_out, last = known.end_in(MESH), all(each.target == network.id for each in known.networks)
    if way_out is not None and last:
        await _leave(context, known, way_out.network, force=asked.force)
    await detach_network(context, known.id, network.id)
    now = attachment_of(context.store.view, found.id)
    if way_out is not None and not last and (now is None or not now.networks):  # another request took the other ones
        await _leave(context, known, way_out.network, force=asked.force)
    return Answer(200)


async def _leave(context: Context, known: NetworkAttachment, network: str, *, force: bool) -> None:
    body = msgspec.json.encode({"Container": known.container, "Force": force})
    path = f"/networks/{network}/disconnect"
    reply = await ask(context, known.node_id, "POST", path, body=body, headers={"content-type": JSON})
    if not reply.ok and "is not connected to" not in reply.message:
        raise reply.error()


def _network(context: Context, call: Call) -> Network | None:
    """Return the network of the cluster that is meant; None where it is one that each engine has of its own.

    Raises:
        NotFound: there is no such network.

    """
    reference = call.params["id"]
    network = find_network(context.store.view, reference)
    if network is None and not predefined_name(reference):
        raise NotFound(f"network {reference} not found")
    return network


async def _pass_on(context: Context, call: Call, found: Found) -> Reply:
    """Let the container's engine do it."""
    name, action = predefined_name(call.params["id"]), call.path.rpartition("/")[2]
    body = {**parse(call.body), "Container": found.id}
    path = f"/networks/{name}/{action}"
    data = msgspec.json.encode(body)
    return (await ask(context, found.node_id, "POST", path, body=data, headers={"content-type": JSON})).answer()


async def _inspect(context: Context, found: Found) -> ContainerInspect:
    reply: EngineReply = await ask(context, found.node_id, "GET", f"/containers/{found.id}/json")
    if not reply.ok:
        raise reply.error()
    return reply.read(ContainerInspect)


def _check(shown: ContainerInspect, network: Network) -> None:
    """Refuse containers that are not their user's to connect, or cannot be.

    Raises:
        EngineError: 403.

    """
    labels = (shown.get("Config") or {}).get("Labels") or {}
    if TASK_LABEL in labels:
        service = labels.get("com.docker.swarm.service.name", "its service")
        raise EngineError(
            403,
            f"container {shown['Id'][:12]} is a task of service {service}, and has the networks of its service: "
            f"use 'docker service update --network-add {network.name} {service}', or --network-rm",
        )
    mode = (shown.get("HostConfig") or {}).get("NetworkMode", "")
    if mode == "host" or mode.startswith("container:"):
        raise EngineError(
            403,
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network",
        )


def _check_node(context: Context, found: Found, own: AttachedNetwork) -> None:
    nodes = check_addresses(context.store.view, (own,))
    if nodes is not None and found.node_id not in nodes:
        network = context.store.view.networks.get(own.target)
        lease = network.leases.get(found.node_id, "") if network is not None else ""
        raise EngineError(
            409,
            f"address {own.address} is not available on this container's node, whose part of the network is {lease}",
        )


def _draft(context: Context, found: Found, shown: ContainerInspect) -> NetworkAttachment:
    """Return the attachment of a container that was made without one."""
    config, host = shown.get("Config") or {}, shown.get("HostConfig") or {}
    dns = DnsConfig(
        nameservers=tuple(host.get("Dns") or ()),
        search=tuple(host.get("DnsSearch") or ()),
        options=tuple(host.get("DnsOptions") or ()),
    )
    ours = {engine_network(network) for network in context.store.view.networks} | {GATEWAY_NETWORK}
    others = ((shown.get("NetworkSettings") or {}).get("Networks") or {}).keys() - ours
    return NetworkAttachment(
        id=new_id(context.rng),
        node_id=found.node_id,
        name=shown["Name"].removeprefix("/"),
        hostname=config.get("Hostname", ""),
        container_id=found.id,
        dns=dns if dns != DnsConfig() else None,
        publishes=bool(host.get("PortBindings")),
        gateway=not others,
    )


ROUTES = (
    Route("POST", "/networks/{id}/connect", connect_container, needs=Role.OPERATOR),
    Route("POST", "/networks/{id}/disconnect", disconnect_container, needs=Role.OPERATOR),
)

"""/networks: create, list, inspect, remove, prune.

Encrypted ones get new keys on request, at a path that the engine does not have.
"""

from __future__ import annotations

from typing import Any

from common.errors import AlreadyExists, FailedPrecondition, NotFound
from common.ids import new_id
from common.model import Network
from common.model.client import Role
from common.model.network import NetworkSpec
from manager.allocate.subnets import allocate_network
from manager.allocate.tunnel_keys import rotate
from manager.api.call import Answer, Call, Filters, Reply, moment
from manager.api.containers.attachments import forget_gone, in_use_error
from manager.api.context import Context
from manager.api.errors import EngineError, Unimplemented
from manager.api.lookup import any_prefix, find_network, labels_match, passes
from manager.api.networks.members import peers_view, services_view
from manager.api.networks.requests import NetworkCreate, network_spec
from manager.api.networks.view import (
    PREDEFINED,
    containers_view,
    network_view,
    predefined_name,
    view_predefined,
)
from manager.api.router import Place, Route
from manager.store.transaction import Transaction
from manager.store.view import View

_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})


async def list_networks(context: Context, call: Call) -> Reply:
    filters = call.filters(_FILTERS)
    view = context.store.view
    used = _used_names(view)
    shown = [*map(network_view, view.networks), *map(view_predefined, PREDEFINED)]
    return Answer(value=[network for network in shown if _passes(network, filters, used)])


def _passes(network: dict[str, Any], filters: Filters, used: set[str]) -> bool:
    builtin = bool(predefined_name(network["Id"])) or network["Ingress"]
    dangling = not builtin and network["Id"] not in used
    return passes(
        filters,
        {
            "driver": lambda values: network["Driver"] in values,
            "id": lambda values: any_prefix(network["Id"], values),
            "label": lambda values: labels_match(network["Labels"], values),
            "name": lambda values: any(value in network["Name"] for value in values),
            "scope": lambda values: network["Scope"] in values,
            "type": lambda values: ("builtin" if builtin else "custom") in values,
            "dangling": lambda values: dangling == ("true" in values or "1" in values),
        },
    )


async def inspect_network(context: Context, call: Call) -> Reply:
    reference, scope = call.params["id"], call.query.get("scope", "")
    view = context.store.view
    network = find_network(view, reference)
    if network is not None and scope in {"", network.spec.scope}:
        shown = network_view(network)
        shown["Containers"] = containers_view(view, network)
        details: dict[str, Any] = {"Peers": peers_view(view, network)}
        if call.flag("verbose"):
            details["Services"] = services_view(view, network)
        return Answer(value={**shown, **{name: value for name, value in details.items() if value}})
    known = next((p for p in PREDEFINED if p.name == predefined_name(reference)), None)
    if known is None:
        raise NotFound(f"network {reference} not found")
    return Answer(value=view_predefined(known, scope=scope or "local"))


async def create_network(context: Context, call: Call) -> Reply:
    network, warning = new_network(call.decode(NetworkCreate), new_id(context.rng))
    warnings = [warning, await context.store.update(lambda tx: put_network(tx, network))]
    return Answer(201, {"Id": network.id, "Warning": "; ".join(filter(None, warnings))})


def new_network(body: NetworkCreate, network_id: str) -> tuple[Network, str]:
    """Return the network that a request asks for, without addresses, and a warning when it differs from the request.

    Raises:
        EngineError, InvalidArgument, Unimplemented: as `network_spec`.

    """
    spec, warning = network_spec(body)
    check_option(spec)
    return Network(id=network_id, spec=spec), warning


def put_network(tx: Transaction, network: Network) -> str:
    """Store a new network, with addresses; return a warning, which may be empty.

    Raises:
        EngineError, SwarmError: the name is taken, there are no addresses for it, or no node supports it.

    """
    spec = network.spec
    if predefined_name(spec.name) or tx.networks.named(spec.name):
        raise EngineError(409, f"network with name {spec.name} already exists")
    ingress = next((n for n in tx.networks if n.spec.ingress), None)
    if spec.ingress and ingress is not None:
        raise AlreadyExists(f"ingress network ({ingress.id}) is already present")
    tx.put(allocate_network(tx, network))
    return warning(tx) if spec.encrypted else ""


async def remove_network(context: Context, call: Call) -> Reply:
    reference = call.params["id"]
    known = find_network(context.store.view, reference)
    if known is not None:
        await forget_gone(context, {known.id})

    def remove(tx: Transaction) -> None:
        network = find_network(tx, reference)
        if network is None:
            _refuse_predefined(reference)
            raise NotFound(f"network {reference} not found")
        _check_unused(tx, network)
        tx.remove(network)

    await context.store.update(remove)
    return Answer(204)


def _refuse_predefined(reference: str) -> None:
    name = predefined_name(reference)
    if name:
        raise EngineError(403, f"{name} is a pre-defined network and cannot be removed")


def _check_unused(view: View, network: Network) -> None:
    for service in view.services:
        if service.pending_delete:
            continue
        if network.spec.ingress and service.spec.in_mesh:
            raise FailedPrecondition(f"ingress network cannot be removed because service {service.id} depends on it")
        if any(n.target == network.id for n in service.spec.attachments):
            raise FailedPrecondition(f"network {network.id} is in use by service {service.id} ({service.name})")

    refusal = in_use_error(view, network.id, network.name)
    if refusal is not None:
        raise refusal


def _used_names(view: View) -> set[str]:
    services = (service for service in view.services if not service.pending_delete)
    plain = (attachment for attachment in view.attachments if attachment.live)
    return {
        *(network.target for service in services for network in service.spec.task_template.networks),
        *(network.target for attachment in plain for network in attachment.networks),
    }


async def prune_networks(context: Context, call: Call) -> Reply:
    filters = call.filters(_PRUNE_FILTERS)
    until = _until(filters, context.clock.now())
    await forget_gone(context, {n.id for n in context.store.view.networks if _prunable(n, filters, until)})

    def prune(tx: Transaction) -> list[str]:
        used = _used_names(tx)
        unused = [n for n in tx.networks if n.id not in used and _prunable(n, filters, until)]
        for network in unused:
            tx.remove(network)
        return [network.name for network in unused]

    return Answer(value={"NetworksDeleted": await context.store.update(prune) or None})


def _prunable(network: Network, filters: Filters, until: float | None) -> bool:
    labels = network.spec.labels
    wanted, unwanted = filters.get("label", frozenset()), filters.get("label!", frozenset())
    if not labels_match(labels, wanted) or any(labels_match(labels, {label}) for label in unwanted):
        return False
    return not network.spec.ingress and (until is None or network.created_at <= until)


def _until(filters: Filters, now: float) -> float | None:
    """Read the `until` filter: an instant, or how long ago (`10m`, `1h30m`)."""
    values = filters.get("until")
    if not values:
        return None
    return moment("until", next(iter(values)), now)


_REMEDY = (
    "install Debian's wireguard-tools and, where the kernel has no WireGuard, wireguard-go there, then restart the "
    "worker; 'node inspect' shows what a node has (Description.Encryption, Description.Lacks)"
)


def check_option(spec: NetworkSpec) -> None:
    """Check what the option `encrypted` cannot be together with. Its value means nothing, as in Docker.

    Raises:
        Unimplemented: the network would be less private than its user believes.

    """
    if spec.encrypted and spec.ingress:
        raise Unimplemented("the routing mesh is not encrypted between hosts: leave out --ingress or encrypted")


def warning(view: View) -> str:
    """Name the nodes that no task of an encrypted network will run on; empty when there is none.

    Raises:
        FailedPrecondition: that is all of them.

    """
    nodes = [node for node in view.nodes if node.agent]
    unable = [node.name or node.id for node in nodes if not node.description.encryption]
    if len(unable) == len(nodes):
        raise FailedPrecondition(f"no node of the cluster supports encrypted networks: {_REMEDY}")
    if not unable:
        return ""
    return f"tasks of this network do not run on {', '.join(sorted(unable))}, which cannot encrypt: {_REMEDY}"


async def rotate_keys(context: Context, _call: Call) -> Reply:
    """Have new keys made for all encrypted networks, now."""

    def step(tx: Transaction) -> int:
        cluster = rotate(tx, context.clock.now())
        tx.put(cluster)
        return cluster.tunnel_generation

    return Answer(value={"Generation": await context.store.update(step)})


ROUTES = (
    Route("GET", "/networks", list_networks, needs=Role.VIEWER, place=Place.STORE),
    Route("GET", "/networks/", list_networks, needs=Role.VIEWER, place=Place.STORE),  # engines do
    Route("POST", "/networks/create", create_network, needs=Role.OPERATOR),
    Route("POST", "/networks/prune", prune_networks, needs=Role.OPERATOR),
    Route("GET", "/networks/{id}", inspect_network, needs=Role.VIEWER, place=Place.STORE),
    Route("DELETE", "/networks/{id}", remove_network, needs=Role.OPERATOR),
    Route("POST", "/networks/rotate-keys", rotate_keys, needs=Role.OPERATOR),
)

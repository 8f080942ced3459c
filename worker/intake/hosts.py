"""A node's place, its peers and its networks, each read strictly. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from common.errors import InvalidArgument
from common.model import network as model
from common.model.node import TunnelKey
from common.net.addressing import SMALLEST_LEASE, SMALLEST_SUBNET, Layout, layout, mesh_prefix, vip_range
from common.net.engine_networks import engine_network
from common.wire import messages as wire
from worker.assignments import AssignmentSet
from worker.intake.addresses import LAST_PORT, host4, host6, range4, range6
from worker.intake.entries import Refusal, Refuse
from worker.intake.identifiers import Id, Unusable, identifier, network_name
from worker.intake.parts import Parts, container_part
from worker.intake.world import Network, Peer

MOST_NODES = 4095
KEY_BYTES = 32
# A host has a few addresses, and all of them are in every node's rules.
MOST_HOST_ADDRESSES = 32
# Links of a smaller MTU have no IPv4, and no IPv6 (RFC 791, 8200).
SMALLEST_MTU, SMALLEST_MTU6 = 68, 1280

_NO_KEY = f"a key for encrypted networks has {KEY_BYTES} bytes"


def read_peer(sent: wire.Peer, refuse: Refuse) -> Peer:
    """Read a peer, without those of its addresses and keys that are malformed.

    Raises:
        Unusable: it has no valid number, id or address.

    """
    if not 1 <= sent.number <= MOST_NODES:
        raise Unusable(f"{sent.number} is not a node's number")
    addresses = []
    for text in sent.ipv6_addresses[:MOST_HOST_ADDRESSES]:
        try:
            addresses.append(host6(text))
        except Unusable as error:
            refuse("address of node", sent.node_id, error.message)
    if len(sent.ipv6_addresses) > MOST_HOST_ADDRESSES:
        refuse("address of node", sent.node_id, f"it has more than {MOST_HOST_ADDRESSES}")
    keys = {generation: key for generation, key in sent.keys.items() if _is_key(key)}
    if len(keys) < len(sent.keys):
        refuse("key of node", sent.node_id, _NO_KEY)
    return Peer(identifier(sent.node_id), sent.number, host4(sent.addr), keys, tuple(addresses))


def read_network(own: Id, sent: model.Network, refuse: Refuse) -> Network:
    """Read a network for the node `own`, without the leases of other nodes that are malformed.

    Raises:
        Unusable: it cannot be on this host.

    """
    found = Network(
        id=identifier(sent.id),
        name=network_name(sent.name),
        docker=engine_network(sent),
        internal=sent.spec.internal,
        encrypted=sent.spec.encrypted,
        labels=sent.spec.labels,
    )
    if not sent.subnets:
        return found
    subnet = range4(sent.subnets[0].subnet)
    within = range4(sent.subnets[0].range or sent.subnets[0].subnet)
    if not within.subnet_of(subnet) or subnet.prefixlen > SMALLEST_LEASE:
        raise Unusable(f"its containers cannot have addresses in {within} of {subnet}")
    prefix6 = next((range6(each.subnet) for each in sent.subnets if ":" in each.subnet), None)
    if prefix6 is not None and prefix6.prefixlen > SMALLEST_SUBNET:
        raise Unusable(f"its subnet {prefix6} has no room for addresses that follow from IPv4 ones")
    mtu, smallest = sent.spec.mtu, SMALLEST_MTU if prefix6 is None else SMALLEST_MTU6
    if mtu and mtu < smallest:
        raise Unusable(f"its MTU of {mtu} bytes is less than {smallest}")
    leases = dict(_read_leases(own, sent, subnet, refuse))
    parts: Parts = {node_id: container_part(lease, subnet) for node_id, lease in leases.items()}
    return replace(found, subnet=subnet, vips=vip_range(within), prefix6=prefix6, mtu=mtu, leases=leases, parts=parts)


def _read_leases(own: Id, sent: model.Network, subnet: IPv4Network, refuse: Refuse) -> Iterator[tuple[Id, IPv4Network]]:
    for node_id, text in sent.leases.items():
        try:
            yield identifier(node_id), _lease(text, subnet)
        except Unusable as error:
            if node_id == own:
                raise
            refuse("part of network", f"{sent.id}-{node_id}", error.message)


def _lease(text: str, subnet: IPv4Network) -> IPv4Network:
    lease = range4(text)
    if not lease.subnet_of(subnet) or lease.prefixlen > SMALLEST_LEASE:
        raise Unusable(f"{lease} is not a part of {subnet} for containers")
    return lease


def read_layout(found: AssignmentSet, refused: list[Refusal]) -> Layout | None:
    """Return how the cluster's addresses are divided; None where this node's number does not fit."""
    if not found.node_number or not found.address_pools:
        return None
    try:
        pool = layout(found.address_pools)
        pool.gateway_range(found.node_number)
    except InvalidArgument as error:
        # A number of another pool, for a moment: the next set brings one that fits.
        refused.append(Refusal("address pool", found.address_pools[0], error.message))
        return None
    return pool


def read_mesh_prefix(found: AssignmentSet, refused: list[Refusal]) -> IPv6Network | None:
    """Return the IPv6 prefix of tunnels and gateways, None where the cluster has none."""
    try:
        return mesh_prefix(found.address_pools)
    except InvalidArgument as error:
        refused.append(Refusal("address pool", "of IPv6", error.message))
        return None


def read_tunnel_port(number: int, refused: list[Refusal]) -> int:
    """Return the UDP port of all tunnels; 0 for the usual one."""
    if 0 <= number <= LAST_PORT:
        return number
    refused.append(Refusal("data path port", str(number), "it is not a port"))
    return 0


def read_tunnel_keys(keys: tuple[TunnelKey, ...] | None, refused: list[Refusal]) -> tuple[TunnelKey, ...] | None:
    """Return this node's own keys, None while no manager has said which."""
    if keys is None:
        return None
    good = tuple(key for key in keys if _is_key(key.public) and _is_key(key.private))
    if len(good) < len(keys):
        refused.append(Refusal("key of node", "itself", _NO_KEY))
    return good


def _is_key(key: bytes) -> bool:
    return len(key) == KEY_BYTES

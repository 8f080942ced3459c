"""Each node's part of a network: `Network.leases`, node id → CIDR. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network

import msgspec

from common.model import Network
from manager.domain.network_parts import (
    LARGEST_PART,
    SMALLEST_PART,
    Range,
    first_free,
    free_addresses,
    network_of,
    parts_area,
    parts_taken,
    range_of,
)

_SMALL_CLUSTER = 32


def lease(network: Network, node_ids: Iterable[str], nodes: int) -> tuple[Network, Collection[str]]:
    """Give each of the nodes a part, in a cluster of `nodes`. Return the network, and the nodes that found no room."""
    leases = dict(network.leases)
    area, taken = parts_area(network), parts_taken(network)
    without: list[str] = []
    for node_id in node_ids:
        if node_id in leases:
            continue
        part = _part(area, taken, max(1, nodes - len(leases)) + _to_come(nodes))
        if part is None:
            without.append(node_id)
        else:
            leases[node_id] = str(part)
            taken.append(range_of(part))
    return _with_leases(network, leases), without


def holder_of(network: Network, address: IPv4Address) -> str:
    """Return the id of the node whose part contains an address; empty if there is none."""
    return next((node_id for node_id, cidr in network.leases.items() if address in IPv4Network(cidr)), "")


def lease_around(network: Network, node_id: str, address: IPv4Address, nodes: int) -> Network | None:
    """Give a node the part that contains an address; None if the node has another part, or another node has that."""
    if node_id in network.leases:
        return network if holder_of(network, address) == node_id else None
    area, taken = parts_area(network), parts_taken(network)
    share = free_addresses(area, taken) // (max(1, nodes - len(network.leases)) + _to_come(nodes))
    size = min(LARGEST_PART, max(SMALLEST_PART, 1 << max(0, share.bit_length() - 1)))
    while size >= SMALLEST_PART:
        first = int(address) // size * size
        if area[0] <= first and first_free((first, min(first + size, area[1])), size, taken) == first:
            part = network_of(first, size)
            if address in (part[0], part[1]):
                return None  # the part's own, and its bridge's
            return _with_leases(network, {**network.leases, node_id: str(part)})
        size //= 2
    return None


def release(network: Network, node_ids: Collection[str]) -> Network:
    return _with_leases(network, {node: cidr for node, cidr in network.leases.items() if node not in node_ids})


def _with_leases(network: Network, leases: Mapping[str, str]) -> Network:
    return network if leases == network.leases else msgspec.structs.replace(network, leases=dict(leases))


def _to_come(nodes: int) -> int:
    """Return for how many more nodes to leave room: a few in a small cluster, as many again in a large one."""
    return nodes if nodes > _SMALL_CLUSTER else nodes // 4 + 2


def _part(area: Range, taken: Collection[Range], shares: int) -> IPv4Network | None:
    """Return the next part, a share of what is free; a smaller one where that does not fit."""
    share = free_addresses(area, taken) // shares
    size = min(LARGEST_PART, max(SMALLEST_PART, 1 << max(0, share.bit_length() - 1)))
    while size >= SMALLEST_PART:
        first = first_free(area, size, taken)
        if first is not None:
            return network_of(first, size)
        size //= 2
    return None

"""Where each node's containers may be: what a node says of its tasks' addresses counts in its own ranges only. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

import msgspec

from common.net.addressing import Layout, container_addresses, packed_prefix
from common.wire.messages import MESH, MESH6
from worker.intake.addresses import text_of
from worker.intake.entries import Refusal
from worker.intake.identifiers import Id
from worker.intake.world import Backend, Endpoint, Network, Part, Peer

# The part of a network, or of the routing mesh, that each node has.
Parts: TypeAlias = Mapping[Id | None, Part]


def container_part(lease: IPv4Network, subnet: IPv4Network) -> Part:
    """Return the first and the last address, packed, that containers have in a node's part of a network."""
    numbers = container_addresses(lease, subnet)
    return numbers[0].to_bytes(4), numbers[-1].to_bytes(4)


class PlacedEndpoints:
    """Endpoints with those of their addresses that are where they may be, for the node `node_id`.

    An endpoint is looked at again only if it, or one of its nodes' parts, is another than before.
    """

    def __init__(self, node_id: Id) -> None:
        self._node_id = node_id
        self._mesh_made_from: object = None
        self._mesh: Parts = {}
        self._mesh6: Parts = {}
        self._placed: dict[str, _Placed] = {}

    def take(
        self, endpoints: Mapping[str, Endpoint], parts: Mapping[str, Parts], refused: list[Refusal]
    ) -> Mapping[str, Endpoint]:
        """Leave out addresses that are in no part of their node; `parts` as `parts_of` returns them."""
        self._placed = {name: self._one(name, endpoint, parts) for name, endpoint in endpoints.items()}
        for each in self._placed.values():
            refused += each.refused
        return {name: each.placed for name, each in self._placed.items()}

    def parts_of(
        self,
        pool: Layout | None,
        mesh6: IPv6Network | None,
        own_number: int,
        peers: Mapping[str, Peer],
        networks: Mapping[str, Network],
    ) -> Mapping[str, Parts]:
        """Say where each node's containers are: by network, and in the gateway networks."""
        made_from = (pool, mesh6, own_number, peers)
        if self._mesh_made_from != made_from:
            self._mesh_made_from = made_from
            numbers = {**{peer.node_id: peer.number for peer in peers.values()}, self._node_id: own_number}
            ranges = _gateway_ranges(pool, numbers) if pool is not None else {}
            self._mesh = {node_id: container_part(each, each) for node_id, each in ranges.items()}
            self._mesh6 = _ipv6_parts(mesh6, self._mesh) if mesh6 is not None else {}
        by_network = {network_id: network.parts for network_id, network in networks.items()}
        return {**by_network, MESH: self._mesh, MESH6: self._mesh6}

    def _one(self, name: str, endpoint: Endpoint, parts: Mapping[str, Parts]) -> _Placed:
        known = self._placed.get(name)
        if known is not None and known.read is endpoint and all(parts.get(each) is part for each, part in known.parts):
            return known
        return _place(endpoint, parts)


@dataclass(frozen=True, slots=True)
class _Placed:
    """An endpoint as it was read, the parts that its addresses may be in, and what of it is there."""

    read: Endpoint
    parts: tuple[tuple[str, Parts], ...]
    placed: Endpoint
    refused: tuple[Refusal, ...]


def _ipv6_parts(prefix: IPv6Network, parts: Parts) -> Parts:
    start = packed_prefix(prefix)
    return {node_id: (start + first, start + last) for node_id, (first, last) in parts.items()}


def _gateway_ranges(pool: Layout, numbers: Mapping[Id, int]) -> Mapping[Id, IPv4Network]:
    return {node_id: pool.gateway_range(number) for node_id, number in numbers.items() if 1 <= number <= pool.numbers}


def _place(endpoint: Endpoint, parts: Mapping[str, Parts]) -> _Placed:
    used = {network_id for each in (*endpoint.backends, *endpoint.draining) for network_id in each.addresses}
    refused: list[Refusal] = []
    backends, draining = (_in_place(each, parts, refused) for each in (endpoint.backends, endpoint.draining))
    whole = backends is endpoint.backends and draining is endpoint.draining
    placed = endpoint if whole else msgspec.structs.replace(endpoint, backends=backends, draining=draining)
    return _Placed(endpoint, tuple((each, parts[each]) for each in used), placed, tuple(refused))


def _in_place(backends: tuple[Backend, ...], parts: Mapping[str, Parts], refused: list[Refusal]) -> tuple[Backend, ...]:
    """Return backends without addresses outside their nodes' parts; the very same backends where there are none."""
    misplaced: dict[int, set[str]] = {}
    for place, backend in enumerate(backends):
        for network_id, address in backend.addresses.items():
            part = parts[network_id].get(backend.node_id)
            if part is not None and part[0] <= address <= part[1]:
                continue
            if backend.node_id is None and any(first <= address <= last for first, last in parts[network_id].values()):
                continue
            misplaced.setdefault(place, set()).add(network_id)
            why = f"{text_of(address)} is in no part that its node has of network {network_id}"
            refused.append(Refusal("task", backend.task_id, why))
    if not misplaced:
        return backends
    return tuple(_without(each, misplaced.get(place, set())) for place, each in enumerate(backends))


def _without(backend: Backend, misplaced: AbstractSet[str]) -> Backend:
    if not misplaced:
        return backend
    kept = {network_id: address for network_id, address in backend.addresses.items() if network_id not in misplaced}
    return msgspec.structs.replace(backend, addresses=kept)

"""What a service adds to a host's table of services: a chain for each virtual address and published port. Pure.

A chain sends a new connection to one of the backends at random; a connection that is there keeps its backend. Without
backends there is no entry, and the base rules refuse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from common.net.addressing import packed_prefix
from common.wire.messages import MESH, MESH6
from worker.intake.addresses import IPAddress, Port
from worker.intake.identifiers import ChainName, InterfaceName
from worker.intake.world import Backend, Endpoint
from worker.net.plan.names import LOOPBACK6, LOOPBACK6_AS_IPV4
from worker.net.plan.rules import ADDRESS
from worker.net.plan.ruleset import IP, IP6, Lookup, Nft, by_name, concatenate, members
from worker.net.plan.service_table import AtAddress, AtPort, Choice, ServiceTable, Vip
from worker.net.plan.topology import NodeTopology

# What an address may have and a chain's name may not.
_NAMED = str.maketrans(".:", "__")

# What all IPv6 addresses of each dual-stack network begin with, by its id.
Prefixes: TypeAlias = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """A service's rules in one family of addresses."""

    chains: Mapping[ChainName, Choice] = field(default_factory=dict)
    vips: Mapping[Vip, ChainName] = field(default_factory=dict)
    mesh: Mapping[AtPort, ChainName] = field(default_factory=dict)
    at_address: Mapping[AtAddress, ChainName] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """One service's part of the rules. `sent_to`: all of its backends; `prefixes`: those of their networks."""

    ipv4: Part
    ipv6: Part
    sent_to: tuple[Backend, ...]
    prefixes: Prefixes = field(compare=False)

    @cached_property
    def reached(self) -> frozenset[bytes]:
        """Every address that connections may have been sent to. Seldom asked for, and long to make."""
        found = [address for backend in self.sent_to for address in backend.addresses.values()]
        for network_id, prefix in self.prefixes.items():
            found += [prefix + address for address in _addresses(self.sent_to, network_id)]
        return frozenset(found)


Memory = dict[str, tuple[Endpoint, object, Service]]


def services_of(
    endpoints: Mapping[str, Endpoint], topology: NodeTopology, draining: Collection[str], memory: Memory
) -> list[Service]:
    """Return every service's part. `draining` tasks get nothing new; `memory` has the parts of the last time.

    A part that was made from the very same endpoint is the same value, so that comparing two plans is quick.
    """
    bridges = {network_id: (segment.bridge, segment.prefix6) for network_id, segment in topology.segments.items()}
    context = (bridges, topology.mesh6, topology.facts.held)
    prefixes = {each: packed_prefix(prefix) for each, (_, prefix) in bridges.items() if prefix}
    for service_id in memory.keys() - endpoints.keys():
        del memory[service_id]
    found = []
    for service_id, endpoint in endpoints.items():
        known = memory.get(service_id)
        leaving = frozenset(backend.task_id for backend in endpoint.backends if backend.task_id in draining)
        made_for = (context, leaving)
        if known is None or known[0] is not endpoint or known[1] != made_for:
            known = memory[service_id] = (endpoint, made_for, _service(endpoint, topology, prefixes, leaving))
        found.append(known[2])
    return found


def table_of(parts: Iterable[Part], frame: ServiceTable) -> ServiceTable:
    """Return the table of all services: `frame` with what they add."""
    chains, vips = dict[ChainName, Choice](), dict[Vip, ChainName]()
    mesh, at_address = dict[AtPort, ChainName](), dict[AtAddress, ChainName | None]()
    for part in parts:
        chains |= part.chains
        vips |= part.vips
        mesh |= part.mesh
        at_address |= part.at_address
    at_address |= frame.at_address
    return replace(frame, chains=chains, vips=vips, mesh=mesh, at_address=at_address)


def published_ports(endpoints: Iterable[Endpoint]) -> Iterator[Port]:
    """Yield the ports that every host answers on, as far as other programs leave them to it."""
    for endpoint in endpoints:
        for each in endpoint.ports:
            yield each.port


def port_lookups(ports: Collection[Port], family: Nft = IP) -> dict[Nft, Lookup]:
    """Return the sets of ports that are ours, with backends or without."""
    anywhere = members(concatenate(port.protocol, port.number) for port in ports if port.address is None)
    at_address = members(
        concatenate(at, port.protocol, port.number) for port in ports if (at := _in_rules(port.address, family))
    )
    ports_of = concatenate(Nft("inet_proto"), Nft("inet_service"))
    return by_name(
        ports=Lookup(ports_of, anywhere), portsaddr=Lookup(concatenate(ADDRESS[family], ports_of), at_address)
    )


def _in_rules(address: IPAddress | None, family: Nft) -> IPAddress | None:
    """Return the address that a port is published at, as the rules of a family write it; None without one."""
    known = LOOPBACK6_AS_IPV4 if address == LOOPBACK6 else address
    return known if known is not None and (known.version == 6) == (family == IP6) else None


def _service(endpoint: Endpoint, topology: NodeTopology, prefixes: Prefixes, draining: Collection[str]) -> Service:
    live = [backend for backend in endpoint.backends if backend.task_id not in draining]
    return Service(
        ipv4=_part4(endpoint, topology, live),
        ipv6=_part6(endpoint, topology, prefixes, live) if topology.mesh6 is not None else Part(),
        sent_to=(*endpoint.backends, *endpoint.draining),
        prefixes=prefixes,
    )


def _part4(endpoint: Endpoint, topology: NodeTopology, live: Collection[Backend]) -> Part:
    vips = [
        (network_id, segment.bridge, vip, Choice(tuple(_addresses(live, network_id))))
        for network_id, vip in endpoint.vips.items()
        if (segment := topology.segments.get(network_id)) is not None
    ]
    return _part(endpoint, topology, vips, _addresses(live, MESH), IP)


def _part6(endpoint: Endpoint, topology: NodeTopology, prefixes: Prefixes, live: Collection[Backend]) -> Part:
    vips = [
        (network_id, segment.bridge, prefix + vip, Choice(tuple(_addresses(live, network_id)), prefix=prefix))
        for network_id, vip in endpoint.vips.items()
        if (segment := topology.segments.get(network_id)) is not None and (prefix := prefixes.get(network_id))
    ]
    return _part(endpoint, topology, vips, _addresses(live, MESH6), IP6)


def _part(
    endpoint: Endpoint,
    topology: NodeTopology,
    vips: Iterable[tuple[str, InterfaceName, bytes, Choice]],
    mesh: list[bytes],
    family: Nft,
) -> Part:
    """Make a family's part. `vips`: network id, bridge, virtual address and the choice there."""
    chains, at_vip = dict[ChainName, Choice](), dict[Vip, ChainName]()
    at_port, at_address = dict[AtPort, ChainName](), dict[AtAddress, ChainName]()
    for network_id, bridge, vip, choice in vips:
        if choice.addresses:
            chain = ChainName(f"v_{endpoint.service_id}_{network_id[:12]}")
            chains[chain] = choice
            at_vip[bridge, vip] = chain
    for each in endpoint.ports if mesh else ():
        (protocol, number, at), address = each.port, _in_rules(each.port.address, family)
        if each.port in topology.facts.held or (at is not None and address is None):
            continue
        chain = ChainName(f"m_{protocol}_{number}" + (f"_{str(address).translate(_NAMED)}" if address else ""))
        chains[chain] = Choice(tuple(mesh), protocol, each.target)
        if address is not None:
            at_address[address.packed, protocol, number] = chain
        else:
            at_port[protocol, number] = chain
    return Part(chains, at_vip, at_port, at_address)


def _addresses(backends: Iterable[Backend], network_id: str) -> list[bytes]:
    return [backend.addresses[network_id] for backend in backends if network_id in backend.addresses]

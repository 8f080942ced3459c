"""What a service adds to a host's table of services: a chain for each virtual address and published port. Pure.

A chain sends a new connection to one of the backends at random; a connection that is there keeps its backend. Without
backends there is no entry, and the base rules refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from common.addressing6 import writer_with_ipv4
from common.wire.messages import MESH, MESH6, Backend, PublishedPort, ServiceEndpoint
from worker.net.names import LOOPBACK6, LOOPBACK6_AS_IPV4
from worker.net.ruleset import Lookup, members
from worker.net.servicetable import Choice, Key, ServiceTable
from worker.net.site import Site

_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - read, not bound
# What an address may have and a chain's name may not.
_NAMED = str.maketrans(".:", "__")


# What writes the IPv6 addresses of each dual-stack network, by its id.
Writers = Mapping[str, Callable[[str], str]]


@dataclass(frozen=True, slots=True)
class Part:
    """A service's rules in one family of addresses."""

    chains: Mapping[str, Choice] = field(default_factory=dict)
    vips: Mapping[Key, str] = field(default_factory=dict)
    mesh: Mapping[Key, str] = field(default_factory=dict)
    at_address: Mapping[Key, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """One service's part of the rules. `sent_to`: all of its backends; `writers`: what writes their IPv6 addresses."""

    ipv4: Part
    ipv6: Part
    sent_to: tuple[Backend, ...]
    writers: Writers = field(compare=False)

    @cached_property
    def reached(self) -> frozenset[str]:
        """Every address that connections may have been sent to. Seldom asked for, and long to make."""
        found = [address for backend in self.sent_to for address in backend.addresses.values()]
        for network_id, write in self.writers.items():
            found += map(write, _addresses(self.sent_to, network_id))
        return frozenset(found)


Memory = dict[str, tuple[ServiceEndpoint, object, Service]]


def services_of(
    endpoints: Mapping[str, ServiceEndpoint], site: Site, draining: Collection[str], memory: Memory
) -> list[Service]:
    """Return every service's part. `draining` tasks get nothing new; `memory` has the parts of the last time.

    A part that was made from the very same endpoint is the same value, so that comparing two plans is quick.
    """
    bridges = {segment.network_id: (segment.bridge, segment.prefix6) for segment in site.segments.values()}
    context = (bridges, site.mesh6, site.facts.held)
    writers = {network_id: writer_with_ipv4(prefix) for network_id, (_, prefix) in bridges.items() if prefix}
    for service_id in memory.keys() - endpoints.keys():
        del memory[service_id]
    found = []
    for service_id, endpoint in endpoints.items():
        known = memory.get(service_id)
        leaving = frozenset(backend.task_id for backend in endpoint.backends if backend.task_id in draining)
        made_for = (context, leaving)
        if known is None or known[0] is not endpoint or known[1] != made_for:
            known = memory[service_id] = (endpoint, made_for, _service(endpoint, site, writers, leaving))
        found.append(known[2])
    return found


def table_of(parts: Iterable[Part], frame: ServiceTable) -> ServiceTable:
    """Return the table of all services: `frame` with what they add."""
    chains, vips, mesh, at_address = dict[str, Choice](), dict[Key, str](), dict[Key, str](), dict[Key, str]()
    for part in parts:
        chains |= part.chains
        vips |= part.vips
        mesh |= part.mesh
        at_address |= part.at_address
    at_address |= frame.at_address
    return replace(frame, chains=chains, vips=vips, mesh=mesh, at_address=at_address)


def published(
    endpoints: Iterable[ServiceEndpoint], held: Collection[tuple[str, int, str]]
) -> Iterator[tuple[str, int, str]]:
    """Yield the ports that this host answers on, as (protocol, port, address or ""); not those that others have."""
    for endpoint in endpoints:
        for port in endpoint.ports:
            key = port_key(port)
            if key not in held:
                yield key


def port_lookups(ports: Collection[tuple[str, int, str]], address: str = "ipv4_addr") -> dict[str, Lookup]:
    """Return the sets of ports that are ours, with backends or without; `address`: nft's type of addresses."""
    anywhere = members(f"{protocol} . {number}" for protocol, number, at in ports if not at)
    at_address = members(
        f"{found} . {protocol} . {number}" for protocol, number, at in ports if (found := _in_rules(at, address))
    )
    return {
        "ports": Lookup("inet_proto . inet_service", anywhere),
        "portsaddr": Lookup(f"{address} . inet_proto . inet_service", at_address),
    }


def port_key(port: PublishedPort) -> tuple[str, int, str]:
    """Return a published port as (protocol, port, address or "")."""
    return port.protocol, port.published, "" if port.host_ip in _ANY else port.host_ip


def _in_rules(address: str, kind: str) -> str:
    """Return the one address that a port is published at as a family's rules have it, empty where they have none."""
    known = LOOPBACK6_AS_IPV4 if address == LOOPBACK6 else address
    return known if (":" in known) == (kind == "ipv6_addr") else ""


def _service(endpoint: ServiceEndpoint, site: Site, writers: Writers, draining: Collection[str]) -> Service:
    live = [backend for backend in endpoint.backends if backend.task_id not in draining]
    return Service(
        ipv4=_part4(endpoint, site, live),
        ipv6=_part6(endpoint, site, writers, live) if site.mesh6 is not None else Part(),
        sent_to=(*endpoint.backends, *endpoint.draining),
        writers=writers,
    )


def _part4(endpoint: ServiceEndpoint, site: Site, live: Collection[Backend]) -> Part:
    vips = [
        (network_id, segment.bridge, vip, Choice(tuple(_addresses(live, network_id))))
        for network_id, vip in endpoint.vips.items()
        if (segment := site.segments.get(network_id)) is not None
    ]
    return _part(endpoint, site, vips, _addresses(live, MESH), "ipv4_addr")


def _part6(endpoint: ServiceEndpoint, site: Site, writers: Writers, live: Collection[Backend]) -> Part:
    vips = [
        (
            network_id,
            segment.bridge,
            writers[network_id](vip),
            Choice(tuple(_addresses(live, network_id)), prefix=segment.prefix6.network_address.packed[:-4]),
        )
        for network_id, vip in endpoint.vips.items()
        if (segment := site.segments.get(network_id)) is not None and segment.prefix6 is not None
    ]
    return _part(endpoint, site, vips, _addresses(live, MESH6), "ipv6_addr")


def _part(
    endpoint: ServiceEndpoint, site: Site, vips: Iterable[tuple[str, str, str, Choice]], mesh: list[str], kind: str
) -> Part:
    """Make a family's part. `vips`: network id, bridge, virtual address and the choice there."""
    chains, at_vip, at_port, at_address = dict[str, Choice](), dict[Key, str](), dict[Key, str](), dict[Key, str]()
    for network_id, bridge, vip, choice in vips:
        if choice.addresses:
            chain = f"v_{endpoint.service_id}_{network_id[:12]}"
            chains[chain] = choice
            at_vip[bridge, vip] = chain
    for port in endpoint.ports if mesh else ():
        protocol, number, at = key = port_key(port)
        address = _in_rules(at, kind)
        if key in site.facts.held or (at and not address):
            continue
        chain = f"m_{protocol}_{number}" + (f"_{address.translate(_NAMED)}" if address else "")
        chains[chain] = Choice(tuple(mesh), protocol, port.target)
        if address:
            at_address[address, protocol, number] = chain
        else:
            at_port[protocol, number] = chain
    return Part(chains, at_vip, at_port, at_address)


def _addresses(backends: Iterable[Backend], network_id: str) -> list[str]:
    return [backend.addresses[network_id] for backend in backends if network_id in backend.addresses]

"""What a service adds to a host's rules: a chain for each virtual address and published port. Pure.

A chain sends a new connection to one of the backends at random; a connection that is there keeps its backend. Without
backends there is no entry, and the base rules refuse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from common.wire.messages import MESH, Backend, PublishedPort, ServiceEndpoint
from worker.net.ruleset import Chain, Lookup, members
from worker.net.site import Site

_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - read, not bound


@dataclass(frozen=True, slots=True)
class Service:
    """One service's part of the rules; `reached`: every address that its connections may have been sent to."""

    chains: Mapping[str, Chain]
    vips: Mapping[str, str]
    mesh: Mapping[str, str]
    mesh_at_address: Mapping[str, str]
    reached: frozenset[str]


Memory = dict[str, tuple[ServiceEndpoint, object, Service]]


def services_of(
    endpoints: Mapping[str, ServiceEndpoint], site: Site, draining: Collection[str], memory: Memory
) -> list[Service]:
    """Return every service's part. `draining` tasks get nothing new; `memory` has the parts of the last time.

    A part that was made from the very same endpoint is the same value, so that comparing two plans is quick.
    """
    bridges = {segment.network_id: segment.bridge for segment in site.segments.values()}
    context = (bridges, site.facts.held)
    for service_id in memory.keys() - endpoints.keys():
        del memory[service_id]
    found = []
    for service_id, endpoint in endpoints.items():
        known = memory.get(service_id)
        leaving = frozenset(backend.task_id for backend in endpoint.backends if backend.task_id in draining)
        made_for = (context, leaving)
        if known is None or known[0] is not endpoint or known[1] != made_for:
            known = memory[service_id] = (endpoint, made_for, _service(endpoint, site, leaving))
        found.append(known[2])
    return found


def service_lookups(services: Iterable[Service]) -> dict[str, Lookup]:
    vips: dict[str, str] = {}
    mesh: dict[str, str] = {}
    at_address: dict[str, str] = {}
    for service in services:
        vips |= service.vips
        mesh |= service.mesh
        at_address |= service.mesh_at_address
    return {
        "vips": Lookup("ifname . ipv4_addr : verdict", vips),
        "mesh": Lookup("inet_proto . inet_service : verdict", mesh),
        "meshaddr": Lookup("ipv4_addr . inet_proto . inet_service : verdict", at_address),
    }


def published(
    endpoints: Iterable[ServiceEndpoint], held: Collection[tuple[str, int, str]]
) -> Iterator[tuple[str, int, str]]:
    """Yield the ports that this host answers on, as (protocol, port, address or ""); not those that others have."""
    for endpoint in endpoints:
        for port in endpoint.ports:
            key = port_key(port)
            if key is not None and key not in held:
                yield key


def port_lookups(ports: Collection[tuple[str, int, str]]) -> dict[str, Lookup]:
    """Return the sets of ports that are ours, with backends or without."""
    anywhere = members(f"{protocol} . {number}" for protocol, number, address in ports if not address)
    at_address = members(f"{address} . {protocol} . {number}" for protocol, number, address in ports if address)
    return {
        "ports": Lookup("inet_proto . inet_service", anywhere),
        "portsaddr": Lookup("ipv4_addr . inet_proto . inet_service", at_address),
    }


def port_key(port: PublishedPort) -> tuple[str, int, str] | None:
    """Return a published port as (protocol, port, address or ""); None where it has an IPv6 address."""
    address = "" if port.host_ip in _ANY else port.host_ip
    return None if ":" in address else (port.protocol, port.published, address)


def _service(endpoint: ServiceEndpoint, site: Site, draining: Collection[str]) -> Service:
    live = [backend for backend in endpoint.backends if backend.task_id not in draining]
    chains: dict[str, Chain] = {}
    vips: dict[str, str] = {}
    mesh: dict[str, str] = {}
    at_address: dict[str, str] = {}
    for network_id, vip in endpoint.vips.items():
        segment = site.segments.get(network_id)
        addresses = _addresses(live, network_id)
        if segment is not None and addresses:
            chain = f"v_{endpoint.service_id}_{network_id[:12]}"
            chains[chain] = Chain((f"dnat to {_one_of(addresses)}",))
            vips[f'"{segment.bridge}" . {vip}'] = f"goto {chain}"
    addresses = _addresses(live, MESH)
    for port in endpoint.ports if addresses else ():
        key = port_key(port)
        if key is None or key in site.facts.held:
            continue
        protocol, number, address = key
        chain = f"m_{protocol}_{number}" + (f"_{address.replace('.', '_')}" if address else "")
        chains[chain] = Chain((_to_port(protocol, port.target, addresses),))
        if address:
            at_address[f"{address} . {protocol} . {number}"] = f"goto {chain}"
        else:
            mesh[f"{protocol} . {number}"] = f"goto {chain}"
    everyone = (*endpoint.backends, *endpoint.draining)
    reached = frozenset(address for backend in everyone for address in backend.addresses.values())
    return Service(chains, vips, mesh, at_address, reached)


def _addresses(backends: Iterable[Backend], network_id: str) -> list[str]:
    return [backend.addresses[network_id] for backend in backends if network_id in backend.addresses]


def _to_port(protocol: str, target: int, addresses: list[str]) -> str:
    return f"meta l4proto {protocol} dnat to {_one_of(addresses)}:{target}"


def _one_of(addresses: list[str]) -> str:
    if len(addresses) == 1:
        return addresses[0]
    choices = ", ".join(f"{number} : {address}" for number, address in enumerate(addresses))
    # Random, not in turn: a turn would begin with the first one after every change.
    return f"numgen random mod {len(addresses)} map {{ {choices} }}"

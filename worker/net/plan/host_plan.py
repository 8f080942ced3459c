"""The whole of what a host is to have, as one value: a pure function of the world, its tasks and its own facts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from common.wire.messages import MESH
from worker.intake.addresses import IPAddress, Port, Protocol, text_of
from worker.intake.identifiers import AddressText
from worker.intake.world import Endpoint, NetworkWorld
from worker.net.plan import encrypted, neighbours, overlay, return_path, rules, rules6, service_rules
from worker.net.plan.bridges import DockerNetwork, docker_networks
from worker.net.plan.encrypted import WireGuardLink
from worker.net.plan.kernel import Item, Tunnel
from worker.net.plan.ruleset import IP6, Chain, Lookup, Nft, Ruleset
from worker.net.plan.service_table import ServiceTable
from worker.net.plan.topology import HostFacts, NodeTopology, ipv6, topology


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """All that the data plane has on a host.

    networks: Docker's networks, by name.
    wireguard: the links of encrypted networks by name, None: whatever is there.
    tunnel, items, sysctls, ruleset: the kernel's part.
    rulesets6: for IPv6, and for the bridges of dual-stack networks; empty where containers have no IPv6.
    way_back: the table of the gateway's link, which is written with the links; None without peers.
    services: the tables that balance, one a family.
    ports: to be kept from other programs.
    answered: those of them that lead to a backend from here.
    balanced: what these tables were made of.
    """

    topology: NodeTopology
    networks: Mapping[str, DockerNetwork] = field(default_factory=dict)
    wireguard: Mapping[str, WireGuardLink] | None = field(default_factory=dict)
    tunnel: Tunnel | None = None
    items: frozenset[Item] = frozenset()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    ruleset: Ruleset | None = None
    rulesets6: tuple[Ruleset, ...] = ()
    way_back: Ruleset | None = None
    services: tuple[ServiceTable, ...] = ()
    ports: frozenset[Port] = frozenset()
    answered: frozenset[Port] = frozenset()
    balanced: tuple[service_rules.Service, ...] = ()

    @property
    def rulesets(self) -> tuple[Ruleset, ...]:
        return (self.ruleset, *self.rulesets6) if self.ruleset is not None else ()

    @property
    def reached(self) -> frozenset[bytes]:
        """Addresses that connections may have been sent to; those of the last plan that are not here are gone."""
        return frozenset().union(*(service.reached for service in self.balanced))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a plan has that no service and no task changes, and what it was made from."""

    made_from: tuple[object, ...]
    topology: NodeTopology
    networks: Mapping[str, DockerNetwork]
    wireguard: Mapping[str, WireGuardLink] | None
    tunnel: Tunnel | None
    items: frozenset[Item]
    sysctls: Mapping[str, str]
    lookups: Mapping[Nft, Lookup]
    chains: Mapping[Nft, Chain]
    ruleset6: Ruleset | None = None
    neighbours: Ruleset | None = None
    way_back: Ruleset | None = None
    services: ServiceTable | None = None
    services6: ServiceTable | None = None


@dataclass(slots=True)
class Memory:
    """Parts of the last plan, for the next one to take what has not changed. It saves time and changes nothing else."""

    services: service_rules.Memory = field(default_factory=dict)
    frame: _Frame | None = None


@dataclass(frozen=True, slots=True)
class Purge:
    """Connections to cut: those that were sent to these addresses, and what sticks to these UDP ports of the host."""

    backends: tuple[AddressText, ...] = ()
    udp_ports: tuple[int, ...] = ()


def plan(
    world: NetworkWorld,
    addresses: Collection[IPAddress],
    draining: Collection[str],
    facts: HostFacts,
    memory: Memory | None = None,
) -> HostPlan:
    """Plan a host.

    Args:
        world: what the manager says.
        addresses: those of the containers of this host.
        draining: tasks of this host that are about to stop.
        facts: what the host says.
        memory: parts of the last plan, brought up to date.

    """
    memory = memory if memory is not None else Memory()
    frame = memory.frame = _frame(world, facts, memory.frame)
    here = frame.topology
    if not here.number:
        return HostPlan(topology=here)
    services = service_rules.services_of(world.endpoints, here, draining, memory.services)
    ports = frozenset(service_rules.published_ports(world.endpoints.values()))
    own = [each for each in addresses if isinstance(each, IPv4Address)]
    lookups = dict(frame.lookups) | rules.task_lookups(own) | service_rules.port_lookups(ports - facts.held)
    return HostPlan(
        topology=here,
        networks=frame.networks,
        wireguard=frame.wireguard,
        tunnel=frame.tunnel,
        items=frame.items,
        sysctls=frame.sysctls,
        ruleset=Ruleset(lookups, frame.chains, counters=rules.COUNTERS),
        rulesets6=_rulesets6(frame, rules6.own(here, addresses), ports - facts.held),
        way_back=frame.way_back,
        services=tuple(_service_tables(frame, services)),
        ports=ports,
        answered=frozenset(_answered_ports(world.endpoints.values(), draining)) - facts.held,
        balanced=tuple(services),
    )


def _frame(world: NetworkWorld, facts: HostFacts, before: _Frame | None) -> _Frame:
    place = (world.node_number, world.pool, world.mesh6, world.data_path_port)
    made_from = (place, world.networks, world.peers, world.tunnel_keys, facts)
    if before is not None and before.made_from == made_from:
        return before
    here = topology(world, facts)
    if not here.number:
        return _Frame(made_from, here, {}, {}, None, frozenset(), {}, {}, {})
    half = ipv6(here)
    return _Frame(
        made_from,
        here,
        docker_networks(here),
        encrypted.links(here),
        overlay.tunnel_link(here),
        overlay.kernel_items(here),
        overlay.sysctls(here),
        rules.base_lookups(here),
        rules.base_chains(here),
        Ruleset(rules6.base_lookups(half), rules6.base_chains(half), family=IP6) if half is not None else None,
        neighbours.ruleset(here),
        return_path.ruleset(here),
        rules.service_frame(here),
        rules6.service_frame(half) if half is not None else None,
    )


def _service_tables(frame: _Frame, services: Collection[service_rules.Service]) -> Iterator[ServiceTable]:
    if frame.services is not None:
        yield service_rules.table_of((service.ipv4 for service in services), frame.services)
    if frame.services6 is not None:
        yield service_rules.table_of((service.ipv6 for service in services), frame.services6)


def _answered_ports(endpoints: Iterable[Endpoint], draining: Collection[str]) -> Iterator[Port]:
    """Yield the ports that have backends."""
    for endpoint in endpoints:
        live = (each for each in endpoint.backends if each.task_id not in draining)
        if any(MESH in each.addresses for each in live):
            yield from (each.port for each in endpoint.ports)


def _rulesets6(frame: _Frame, addresses: Collection[IPAddress], ports: Collection[Port]) -> tuple[Ruleset, ...]:
    if frame.ruleset6 is None:
        return ()
    lookups = dict(frame.ruleset6.lookups) | rules.task_lookups(addresses, IP6) | service_rules.port_lookups(ports, IP6)
    table = Ruleset(lookups, frame.ruleset6.chains, family=IP6, counters=rules.COUNTERS6)
    return (table, frame.neighbours) if frame.neighbours is not None else (table,)


def purge(old: HostPlan, new: HostPlan) -> Purge:
    """Say which connections end with a change: those to tasks that are gone, so that their clients hear it at once.

    UDP has no connections of its own. What a program of this host sent to a port that led to nobody would go on to
    nobody for as long as it keeps sending: the kernel remembers it before it is refused.
    """
    begun = new.answered - old.answered
    # Most services are the very same as before.
    kept = {id(service) for service in new.balanced}
    changed = [service for service in old.balanced if id(service) not in kept]
    gone = frozenset().union(*(service.reached for service in changed))
    for service in new.balanced if gone else ():
        gone -= service.reached
    return Purge(
        backends=tuple(sorted(map(text_of, gone))),
        udp_ports=tuple(sorted({port.number for port in begun if port.protocol is Protocol.UDP})),
    )

"""The names that a host's containers know: a zone for each network, made from the world and the containers here. Pure.

A zone has the services of one network under their names and aliases. What lies below a service's name (`tasks.web`,
`1.web`) is found in the service's own records, so that a change of one service is the work of that service, and of a
pointer for each other one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from common.net.addressing import packed_prefix
from worker.intake.addresses import IPAddress, IPRange
from worker.intake.identifiers import NO_NAME
from worker.intake.world import Backend, Endpoint, NetworkWorld
from worker.net.plan.topology import NodeTopology

TASKS = "tasks"


@dataclass(frozen=True, slots=True)
class Records:
    """One service in one network. Addresses are four bytes each, or sixteen (IPv6); names in lower case.

    addresses: what the service's name means: its virtual address, or without one those of all its tasks.
    tasks: the address of every task that may get traffic.
    members: below the service's name: `1` (a slot, or a global task's node) and `1.TASKID` → addresses.
    hosts: its containers' own names for themselves (`hostname`, else the container's short id) → addresses.
    pointers: address → name.
    """

    name: str
    stack: str
    aliases: tuple[str, ...]
    addresses: tuple[bytes, ...]
    tasks: tuple[bytes, ...]
    members: Mapping[str, tuple[bytes, ...]]
    hosts: Mapping[str, tuple[bytes, ...]]
    pointers: Mapping[bytes, str]


@dataclass(frozen=True, slots=True)
class Zone:
    """One network. `names`: service names and aliases → the services that have them; `network` is its own name."""

    network: str = ""
    records: tuple[Records, ...] = ()
    names: Mapping[str, tuple[Records, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalContainer:
    """A container of this host: its addresses by network id, its service, and the name servers of its own.

    `links` are names that it alone has for others: name → the other's own name.
    """

    task_id: str
    addresses: Mapping[str, IPAddress]
    service_id: str = ""
    nameservers: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Client:
    """What is known of who has an address: its networks' ids, in the order of their names, its stack, its own servers.

    `links` are names that it alone has, in lower case: name → another's.
    """

    networks: tuple[str, ...]
    stack: str = ""
    nameservers: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """What one container may ask for: its zones, in the order of their names. The names of its own stack go first."""

    zones: tuple[Zone, ...] = ()
    stack: str = ""
    nameservers: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Zones:
    """What a host's name server knows.

    listen: the host's own addresses to answer at.
    zones: by network id; `clients` by address.
    neighbours: this host's part of each network → its id, for what has an address there and is no task.
    ranges: all addresses that are the cluster's: nobody else can name them.
    """

    listen: frozenset[str] = frozenset()
    zones: Mapping[str, Zone] = field(default_factory=dict)
    clients: Mapping[str, Client] = field(default_factory=dict)
    neighbours: tuple[tuple[IPv4Network, str], ...] = ()
    ranges: tuple[IPRange, ...] = ()

    def view(self, source: str) -> View | None:
        """Return what whoever has an address may ask for; None for a stranger."""
        client = self.clients.get(source)
        if client is None:
            return self._view_of_neighbour(source)
        zones = tuple([self.zones[each] for each in client.networks])
        return View(zones, client.stack, client.nameservers, client.links)

    def _view_of_neighbour(self, source: str) -> View | None:
        address = IPv4Address(source)
        for lease, network_id in self.neighbours:
            if address in lease:
                return View((self.zones[network_id],))
        return None


# Per service: what its records were made from, and its records by network id.
Memory = dict[str, tuple[Endpoint, object, Mapping[str, Records]]]


def zones_of(
    world: NetworkWorld,
    topology: NodeTopology,
    containers: Iterable[LocalContainer],
    draining: Collection[str] = (),
    memory: Memory | None = None,
    before: Zones | None = None,
) -> Zones:
    """Make the zones of a host.

    Args:
        world: what the manager says.
        topology: which of it this host has.
        containers: those of this host.
        draining: tasks of this host that are about to stop, and are not named any more.
        memory: the services' records of the last time, brought up to date; it only changes how long this takes.
        before: the zones of the last time, for the same purpose.

    """
    if not topology.number:
        return Zones()
    per_network = _records(world, topology, draining, memory if memory is not None else {})
    old = before.zones if before is not None else {}
    zones = {
        network_id: _zone(world.networks[network_id].name, per_network[network_id], old.get(network_id))
        for network_id in topology.segments
        if network_id in world.networks
    }
    segments = [segment for network_id, segment in topology.segments.items() if network_id in zones]
    assert topology.pool is not None, "a host with a number has one"
    return Zones(
        listen=frozenset({str(topology.gateways[1]), *(str(segment.gateway) for segment in segments)}),
        zones=zones,
        clients=_clients(world, zones, containers),
        neighbours=tuple([(segment.lease, segment.network_id) for segment in segments]),
        ranges=(
            *topology.pool.reserved(),
            *([topology.mesh6] if topology.mesh6 is not None else ()),
            *(part for each in world.networks.values() for part in each.ranges),
        ),
    )


def _records(
    world: NetworkWorld, topology: NodeTopology, draining: Collection[str], memory: Memory
) -> Mapping[str, list[Records]]:
    for service_id in memory.keys() - world.endpoints.keys():
        del memory[service_id]
    found: defaultdict[str, list[Records]] = defaultdict(list)
    here = {
        network_id: packed_prefix(segment.prefix6) if segment.prefix6 is not None else b""
        for network_id, segment in topology.segments.items()
    }
    for service_id, endpoint in world.endpoints.items():
        known = memory.get(service_id)
        leaving = frozenset([backend.task_id for backend in endpoint.backends if backend.task_id in draining])
        made_for = (here, leaving)
        if known is None or known[0] is not endpoint or known[1] != made_for:
            known = memory[service_id] = (endpoint, made_for, _service(endpoint, here, leaving))
        for network_id, records in known[2].items():
            found[network_id].append(records)
    return found


def _service(endpoint: Endpoint, here: Mapping[str, bytes], leaving: Collection[str]) -> Mapping[str, Records]:
    live = [backend for backend in endpoint.backends if backend.task_id not in leaving]
    networks = {*endpoint.vips, *endpoint.aliases, *(each for backend in live for each in backend.addresses)}
    return {each: _in_network(endpoint, each, live, here[each]) for each in networks if each in here}


def _in_network(endpoint: Endpoint, network_id: str, live: Iterable[Backend], prefix: bytes) -> Records:
    """Make a service's records in a network; `prefix`: what its IPv6 addresses begin with, empty if it has none."""
    tasks: list[bytes] = []
    members: dict[str, tuple[bytes, ...]] = {}
    hosts: dict[str, tuple[bytes, ...]] = {}
    pointers: dict[bytes, str] = {}
    for backend in live:
        address = backend.addresses.get(network_id)
        if address is None:
            continue
        both = _both(address, prefix)
        slot = str(backend.slot or backend.node_id or "").lower()
        tasks += both
        if host := backend.hostname.lower():
            hosts[host] = (*hosts.get(host, ()), *both)
        if not slot:  # a plain container
            pointers |= dict.fromkeys(both, endpoint.name)
            continue
        members[slot] = (*members.get(slot, ()), *both)
        members[f"{slot}.{backend.task_id.lower()}"] = both
        pointers |= dict.fromkeys(both, f"{slot}.{endpoint.name}")
    vip = endpoint.vips.get(network_id)
    virtual = _both(vip, prefix) if vip else ()
    pointers |= dict.fromkeys(virtual, endpoint.name)
    return Records(
        name=endpoint.name.lower(),
        stack=endpoint.stack,
        aliases=tuple([alias.lower().rstrip(".") for alias in endpoint.aliases.get(network_id, ())]),
        addresses=virtual or tuple(tasks),
        tasks=tuple(tasks),
        members=members,
        hosts=hosts,
        pointers=pointers if endpoint.name else {},
    )


def _both(address: bytes, prefix: bytes) -> tuple[bytes, ...]:
    """Return an address, and the IPv6 one that follows from it in a dual-stack network."""
    return (address, prefix + address) if prefix else (address,)


def _zone(network: str, records: Iterable[Records], old: Zone | None) -> Zone:
    found = tuple(records)
    if old is not None and old.network == network and _same(old.records, found):
        return old
    names: dict[str, tuple[Records, ...]] = {}
    for each in found:
        for name in {each.name, *each.aliases} - {NO_NAME}:
            names[name] = (*names.get(name, ()), each)
    return Zone(network, found, names)


def _same(old: tuple[Records, ...], new: tuple[Records, ...]) -> bool:
    return len(old) == len(new) and all(one is other for one, other in zip(old, new, strict=True))


def _clients(
    world: NetworkWorld, zones: Mapping[str, Zone], containers: Iterable[LocalContainer]
) -> Mapping[str, Client]:
    found = {}
    for container in containers:
        endpoint = world.endpoints.get(container.service_id)
        networks = sorted(container.addresses.keys() & zones.keys(), key=lambda each: (zones[each].network, each))
        stack = endpoint.stack if endpoint is not None else ""
        links = {name.lower(): other.lower() for name, other in container.links.items()}
        entry = Client(tuple(networks), stack, container.nameservers, links)
        for address in container.addresses.values():
            found[str(address)] = entry
    return found

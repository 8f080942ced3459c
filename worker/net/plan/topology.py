"""This host's place in the cluster's networks: the world of an assignment set, seen from here. Pure.

For IPv6 nothing is leased: each address follows from an IPv4 one and its network's prefix (`common.net.addressing`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from common.model.node import TunnelKey
from common.net.addressing import Layout, range_with_ipv4, with_ipv4
from common.wire.messages import MESH
from worker.intake.addresses import IPRange, Port
from worker.intake.identifiers import Id, InterfaceName
from worker.intake.world import Network, NetworkWorld, Peer
from worker.net.plan.names import DEFAULT_TUNNEL_PORT, SMALLEST_MTU6, TUNNEL_OVERHEAD, WIREGUARD_OVERHEAD, bridge_name

DEFAULT_MTU = 1500
REMEDY = (
    "install Debian's wireguard-tools and, where the kernel has no WireGuard, wireguard-go, then restart the worker"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What the plan must know of the host itself.

    address: the one that peers send to, empty while it is not known; `mtu`: of the link that has it.
    ranges: what the host reaches by routes that are not ours.
    held: published ports that another program has.
    ipv6: whether containers can have IPv6 addresses here; `ranges6`: as `ranges`; `advertised_links`: those on which
    routers advertise the host's way out.
    encrypts: whether it can carry encrypted networks; `wireguard_links`: those for it that are there; `answered`: the
    public keys of peers that there was a handshake with.
    """

    node_id: Id
    address: str = ""
    mtu: int = DEFAULT_MTU
    ranges: tuple[IPv4Network, ...] = ()
    held: frozenset[Port] = frozenset()
    ipv6: bool = False
    ranges6: tuple[IPv6Network, ...] = ()
    advertised_links: frozenset[str] = frozenset()
    encrypts: bool = False
    wireguard_links: frozenset[str] = frozenset()
    answered: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Segment:
    """One of the cluster's networks on this host. `gateway` is the bridge's own address, the lease's second.

    `docker`: its name on the engine. `prefix6`: the IPv6 subnet of a dual-stack network; its addresses follow
    (`common.net.addressing`). `mtu`: the most that its user wants, or 0.
    """

    network_id: Id
    bridge: InterfaceName
    docker: str
    subnet: IPv4Network
    vips: IPv4Network
    lease: IPv4Network
    internal: bool
    leases: Mapping[Id, IPv4Network]
    labels: Mapping[str, str]
    encrypted: bool = False
    prefix6: IPv6Network | None = None
    mtu: int = 0

    @property
    def gateway(self) -> IPv4Address:
        return self.lease[1]


@dataclass(frozen=True, slots=True)
class NodeTopology:
    """This host: its number, the peers by number, its segments by network id. `number` is 0 before it has one.

    `keys`: its own for encrypted networks, None while no manager has said which. `mesh6`: the IPv6 prefix of tunnels
    and gateways, None where containers have no IPv6.
    """

    number: int
    pool: Layout | None
    peers: Mapping[int, Peer]
    segments: Mapping[str, Segment]
    mtu: int
    facts: HostFacts
    problems: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[TunnelKey, ...] | None = ()
    mesh6: IPv6Network | None = None
    tunnel_port: int = DEFAULT_TUNNEL_PORT

    @property
    def encrypted_mtu(self) -> int:
        return self.facts.mtu - WIREGUARD_OVERHEAD

    def mtu_of(self, segment: Segment) -> int:
        most = self.encrypted_mtu if segment.encrypted else self.mtu
        return min(most, segment.mtu or most)

    @property
    def gateways(self) -> IPv4Network:
        """The range of this node's gateway network."""
        assert self.pool is not None, "asked only of a host with a number"
        return self.pool.gateway_range(self.number)

    @property
    def ranges(self) -> tuple[IPRange, ...]:
        """Where the cluster's containers are, as far as this host reaches them."""
        assert self.pool is not None, "asked only of a host with a number"
        found: list[IPRange | None] = [self.pool.gateways, self.mesh6]
        for segment in self.segments.values():
            found += (segment.subnet, segment.prefix6)
        return tuple(part for part in found if part is not None)

    @property
    def tunnel(self) -> IPv4Address:
        assert self.pool is not None, "asked only of a host with a number"
        return self.pool.tunnel_address(self.number)


def topology(world: NetworkWorld, facts: HostFacts) -> NodeTopology:
    """See the world from this host.

    What cannot be here is left out, and `problems` says why, by network id; under `MESH`, why nothing can be.
    """
    pool = world.pool
    problems = {each.name: f"{each.what} cannot be here: {each.why}" for each in world.networks_refused}
    segments: dict[str, Segment] = {}
    for network in world.networks.values():
        segment = _segment(network, facts.node_id)
        if segment is None:
            continue
        clash = _clash(segment.subnet, facts.ranges)
        if segment.encrypted and not facts.encrypts:
            problems[network.id] = f"network {network.name!r} is encrypted, and this host has no WireGuard: {REMEDY}"
        elif segment.prefix6 is not None and (problem := _problem6(network, segment, facts)):
            problems[network.id] = problem
        elif clash is not None:
            text = f"network {network.name!r} has the subnet {segment.subnet}, but this host reaches {clash} elsewhere"
            problems[network.id] = f"{text}: create the network with another --subnet"
        else:
            segments[network.id] = segment
    number = world.node_number if pool is not None else 0
    peers = _peers(world, pool, facts, segments, problems) if pool is not None else {}
    for part in pool.reserved() if pool is not None else ():
        clash = _clash(part, facts.ranges)
        if clash is not None:
            number, segments = 0, {}
            text = (
                f"this host reaches {clash}, which is in the part of the address pool that the cluster needs ({part})"
            )
            problems[MESH] = f"{text}: make the cluster with another --default-addr-pool"
    return NodeTopology(
        number=number,
        pool=pool,
        peers=dict(sorted(peers.items())) if number else {},
        segments=dict(sorted(segments.items())),
        mtu=facts.mtu - TUNNEL_OVERHEAD,
        facts=facts,
        problems=problems,
        keys=world.tunnel_keys,
        mesh6=world.mesh6 if number and facts.ipv6 else None,
        tunnel_port=world.data_path_port or DEFAULT_TUNNEL_PORT,
    )


def _peers(
    world: NetworkWorld, pool: Layout, facts: HostFacts, segments: Mapping[str, Segment], problems: dict[str, str]
) -> dict[int, Peer]:
    found: dict[int, Peer] = {}
    clusters = [*pool.reserved(), *(segment.subnet for segment in segments.values())]
    for peer in world.peers.values():
        if peer.number > pool.numbers or peer.number == world.node_number:
            continue  # a number of another pool, or this host's own of before
        if problem := _problem_of(peer, clusters, facts):
            problems[peer.node_id] = f"node {peer.node_id} is left out of the networks: {problem}"
        else:
            found[peer.number] = peer
    return found


def _problem_of(peer: Peer, clusters: Collection[IPv4Network], facts: HostFacts) -> str:
    """Say why what is for a peer would not leave this host, empty if it does. `clusters`: where containers are."""
    if str(peer.addr) == facts.address:
        return "its address is this host's own"
    if any(peer.addr in part for part in clusters):
        return "its address is one of those that the cluster gives to tunnels and containers"
    return ""


def _segment(network: Network, node_id: Id) -> Segment | None:
    """Return a network as it is on this host; None where it has no part of it."""
    lease = network.leases.get(node_id)
    if network.subnet is None or network.vips is None or lease is None:
        return None
    return Segment(
        network_id=network.id,
        bridge=bridge_name(network.id),
        docker=network.docker,
        subnet=network.subnet,
        vips=network.vips,
        lease=lease,
        internal=network.internal,
        leases=network.leases,
        labels=network.labels,
        encrypted=network.encrypted,
        prefix6=network.prefix6,
        mtu=network.mtu,
    )


def _problem6(network: Network, segment: Segment, facts: HostFacts) -> str:
    """Say why a dual-stack network cannot be here: half of it would be less than its user believes."""
    if not facts.ipv6:
        return f"network {network.name!r} has IPv6, and this host has none for containers: see `node inspect`"
    if segment.encrypted and facts.mtu < SMALLEST_MTU6 + WIREGUARD_OVERHEAD:
        return (
            f"network {network.name!r} is encrypted and has IPv6, which needs an MTU of "
            f"{SMALLEST_MTU6 + WIREGUARD_OVERHEAD} bytes, and this host's link to the other nodes has {facts.mtu}"
        )
    assert segment.prefix6 is not None, "asked only of dual-stack networks"
    clash = next((other for other in facts.ranges6 if other.overlaps(segment.prefix6)), None)
    if clash is None:
        return ""
    text = f"network {network.name!r} has the subnet {segment.prefix6}, but this host reaches {clash} elsewhere"
    return f"{text}: create the network with another --subnet"


def _clash(subnet: IPv4Network, ranges: Collection[IPv4Network]) -> IPv4Network | None:
    return next((other for other in ranges if other.overlaps(subnet)), None)


def leases_of(segment: Segment, peers: Mapping[int, Peer]) -> Iterator[tuple[int, IPv4Network]]:
    """Yield each peer's part of a network, by its number."""
    for number, peer in peers.items():
        if peer.node_id in segment.leases:
            yield number, segment.leases[peer.node_id]


# --- IPv6 ---


@dataclass(frozen=True, slots=True)
class Segment6:
    """A dual-stack network on this host; `within`: the part of its subnet in which addresses are."""

    segment: Segment
    prefix: IPv6Network

    @property
    def within(self) -> IPv6Network:
        return range_with_ipv4(self.prefix, self.segment.subnet)

    @property
    def vips(self) -> IPv6Network:
        return range_with_ipv4(self.prefix, self.segment.vips)

    @property
    def lease(self) -> IPv6Network:
        return range_with_ipv4(self.prefix, self.segment.lease)

    @property
    def gateway(self) -> IPv6Address:
        return with_ipv4(self.prefix, self.segment.gateway)


@dataclass(frozen=True, slots=True)
class NodeTopology6:
    """The addresses of a host whose containers have IPv6, and its peers'. `segments`: the dual-stack ones."""

    topology: NodeTopology
    mesh: IPv6Network

    @property
    def segments(self) -> Iterator[Segment6]:
        for segment in self.topology.segments.values():
            if segment.prefix6 is not None:
                yield Segment6(segment, segment.prefix6)

    @property
    def gateways(self) -> IPv6Network:
        """The range of this node's gateway network."""
        return range_with_ipv4(self.mesh, self.topology.gateways)

    @property
    def all_gateways(self) -> IPv6Network:
        return range_with_ipv4(self.mesh, self._pool(1))

    @property
    def tunnels(self) -> IPv6Network:
        return range_with_ipv4(self.mesh, self._pool(0))

    @property
    def tunnel(self) -> IPv6Address:
        return self.of(self.topology.tunnel)

    def of(self, address: IPv4Address) -> IPv6Address:
        """Return what a tunnel or gateway has beside its IPv4 address."""
        return with_ipv4(self.mesh, address)

    def peers(self) -> Iterator[tuple[int, IPv6Address, IPv6Network]]:
        """Yield each peer's number, tunnel address and gateway range."""
        assert self.topology.pool is not None, "asked only of a host with a number"
        for number in self.topology.peers:
            yield (
                number,
                self.of(self.topology.pool.tunnel_address(number)),
                range_with_ipv4(self.mesh, self.topology.pool.gateway_range(number)),
            )

    def leases_of(self, segment: Segment6) -> Iterator[tuple[int, IPv6Network]]:
        """Yield each peer's part of a network, by its number."""
        for number, lease in leases_of(segment.segment, self.topology.peers):
            yield number, range_with_ipv4(segment.prefix, lease)

    def _pool(self, part: int) -> IPv4Network:
        assert self.topology.pool is not None, "asked only of a host with a number"
        return self.topology.pool.reserved()[part]


def ipv6(topology: NodeTopology) -> NodeTopology6 | None:
    """Return the IPv6 half; None where containers have no IPv6."""
    return NodeTopology6(topology, topology.mesh6) if topology.mesh6 is not None else None

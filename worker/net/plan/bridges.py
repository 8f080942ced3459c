"""The Docker networks of a host: one for each network of the cluster, and the gateway. Pure.

Each is a plain bridge with the network's whole subnet, so that remote containers and virtual addresses are next door
as far as a container can tell; this host's containers get their addresses from its own part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from common.net.engine_networks import GATEWAY_NETWORK
from worker.intake.addresses import text_of
from worker.intake.identifiers import InterfaceName
from worker.interfaces.engine import JSON, LABEL_AGENT
from worker.net.local_networks import LABEL_NETWORK
from worker.net.plan.kernel import Bridge
from worker.net.plan.names import GATEWAY_BRIDGE, LABEL_LEASE, TUNNEL, WIREGUARD_LINKS
from worker.net.plan.topology import NodeTopology, Segment, Segment6, ipv6

BRIDGE_OPTION = "com.docker.network.bridge.name"


@dataclass(frozen=True, slots=True)
class Pool6:
    """The IPv6 addresses of a Docker network, as those in `DockerNetwork`."""

    subnet: IPv6Network
    lease: IPv6Network
    gateway: IPv6Address

    def body(self) -> JSON:
        return {"Subnet": str(self.subnet), "IPRange": str(self.lease), "Gateway": str(self.gateway)}


@dataclass(frozen=True, slots=True)
class DockerNetwork:
    """One network of the engine. Two of one name that are not equal cannot be told apart from changed in place.

    `ways`: the links to other hosts' containers. `ipv6`: the same three of a dual-stack network.
    """

    name: str
    network_id: str
    bridge: InterfaceName
    subnet: IPv4Network
    lease: IPv4Network
    gateway: IPv4Address
    mtu: int
    internal: bool = False
    isolated: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    ways: tuple[InterfaceName, ...] = (TUNNEL,)
    ipv6: Pool6 | None = None

    def body(self, node_id: str) -> JSON:
        """Write the request to create it."""
        ours = {LABEL_AGENT: node_id, LABEL_NETWORK: self.network_id, LABEL_LEASE: str(self.lease)}
        pool = {"Subnet": str(self.subnet), "IPRange": str(self.lease), "Gateway": str(self.gateway)}
        pools = [pool, self.ipv6.body()] if self.ipv6 is not None else [pool]
        return {
            "Name": self.name,
            "Driver": "bridge",
            "EnableIPv6": self.ipv6 is not None,
            "Internal": self.internal,
            "Labels": {**dict(self.labels), **ours},
            "IPAM": {"Driver": "default", "Config": pools},
            "Options": self._options(),
        }

    def _options(self) -> dict[str, str]:
        return {
            BRIDGE_OPTION: self.bridge,
            "com.docker.network.bridge.enable_ip_masquerade": "false",
            "com.docker.network.bridge.enable_icc": "false" if self.isolated else "true",
            "com.docker.network.driver.mtu": str(self.mtu),
            # From Docker 28 on, what comes in for a container by another link is dropped before anyone can accept it.
            "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
            **({"com.docker.network.bridge.gateway_mode_ipv6": "nat-unprotected"} if self.ipv6 is not None else {}),
            "com.docker.network.bridge.trusted_host_interfaces": ":".join(self.ways),
        }

    @property
    def link(self) -> Bridge:
        return Bridge(self.bridge, text_of(self.gateway), self.subnet.prefixlen, self.mtu)

    def same_as(self, answer: JSON) -> bool:
        """Whether the engine's network of this name is this one, in all that cannot be changed in place."""
        six = [str(self.ipv6.subnet)] if self.ipv6 is not None else []
        return self._same_in_ipv4(answer) and _pools(answer) == [str(self.subnet), *six]

    def is_half_of(self, answer: JSON) -> bool:
        """Whether the engine's network is this one and has IPv6, which this one has not (any more)."""
        return self._same_in_ipv4(answer) and self.ipv6 is None and _pools(answer)[:1] == [str(self.subnet)]

    def _same_in_ipv4(self, answer: JSON) -> bool:
        labels = answer.get("Labels") or {}
        return labels.get(LABEL_LEASE) == str(self.lease) and bool(answer.get("Internal")) == self.internal

    def overlaps(self, answer: JSON) -> bool:
        """Whether the engine's network has a part of this one's addresses."""
        ranges = [ip_network(pool) for pool in _pools(answer)]
        if any(each.overlaps(self.subnet) for each in ranges if isinstance(each, IPv4Network)):
            return True
        six = [each for each in ranges if isinstance(each, IPv6Network)]
        return self.ipv6 is not None and any(each.overlaps(self.ipv6.subnet) for each in six)


def _pools(answer: JSON) -> list[str]:
    return [each["Subnet"] for each in (answer.get("IPAM") or {}).get("Config") or () if each.get("Subnet")]


def docker_networks(topology: NodeTopology) -> dict[str, DockerNetwork]:
    """Return the Docker networks that a host with a number needs, by their names."""
    gateways = topology.gateways
    gateway = DockerNetwork(
        name=GATEWAY_NETWORK,
        network_id="",
        bridge=GATEWAY_BRIDGE,
        subnet=gateways,
        lease=gateways,
        gateway=gateways[1],
        mtu=topology.mtu,
        isolated=True,
        ipv6=Pool6(half.gateways, half.gateways, half.gateways[1]) if (half := ipv6(topology)) is not None else None,
    )
    return {
        network.name: network
        for network in (gateway, *(_overlay(each, topology.mtu_of(each)) for each in topology.segments.values()))
    }


def _overlay(segment: Segment, mtu: int) -> DockerNetwork:
    return DockerNetwork(
        name=segment.docker,
        network_id=segment.network_id,
        bridge=segment.bridge,
        subnet=segment.subnet,
        lease=segment.lease,
        gateway=segment.gateway,
        mtu=mtu,
        internal=segment.internal,
        labels=tuple(sorted(segment.labels.items())),
        ways=WIREGUARD_LINKS if segment.encrypted else (TUNNEL,),
        ipv6=_pool6(Segment6(segment, segment.prefix6)) if segment.prefix6 is not None else None,
    )


def _pool6(segment: Segment6) -> Pool6:
    return Pool6(segment.prefix, segment.lease, segment.gateway)

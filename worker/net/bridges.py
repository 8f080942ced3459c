"""The Docker networks of a host: one for each network of the cluster, and the gateway. Pure.

Each is a plain bridge with the network's whole subnet, so that remote containers and virtual addresses are next door
as far as a container can tell; this host's containers get their addresses from its own part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from worker.localnetworks import LABEL_NETWORK
from worker.net.kernel import Bridge
from worker.net.names import GATEWAY_BRIDGE, GATEWAY_NETWORK, LABEL_LEASE, TUNNEL
from worker.net.site import Segment, Site
from worker.ports import JSON, LABEL_AGENT


@dataclass(frozen=True, slots=True)
class DockerNetwork:
    """One network of the engine. Two of one name that are not equal cannot be told apart from changed in place."""

    name: str
    network_id: str
    bridge: str
    subnet: IPv4Network
    lease: IPv4Network
    gateway: IPv4Address
    mtu: int
    internal: bool = False
    isolated: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    def body(self, node_id: str) -> JSON:
        """Write the request to create it."""
        ours = {LABEL_AGENT: node_id, LABEL_NETWORK: self.network_id, LABEL_LEASE: str(self.lease)}
        pool = {"Subnet": str(self.subnet), "IPRange": str(self.lease), "Gateway": str(self.gateway)}
        return {
            "Name": self.name,
            "Driver": "bridge",
            "Internal": self.internal,
            "Labels": {**dict(self.labels), **ours},
            "IPAM": {"Driver": "default", "Config": [pool]},
            "Options": self._options(),
        }

    def _options(self) -> dict[str, str]:
        return {
            "com.docker.network.bridge.name": self.bridge,
            "com.docker.network.bridge.enable_ip_masquerade": "false",
            "com.docker.network.bridge.enable_icc": "false" if self.isolated else "true",
            "com.docker.network.driver.mtu": str(self.mtu),
            # From Docker 28 on, what comes in for a container by another link is dropped before anyone can accept it.
            "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
            "com.docker.network.bridge.trusted_host_interfaces": TUNNEL,
        }

    @property
    def link(self) -> Bridge:
        return Bridge(self.bridge, str(self.gateway), self.subnet.prefixlen, self.mtu)

    def same_as(self, answer: JSON) -> bool:
        """Whether the engine's network of this name is this one, as far as it cannot be changed."""
        pools = (answer.get("IPAM") or {}).get("Config") or [{}]
        labels = answer.get("Labels") or {}
        return (
            labels.get(LABEL_LEASE) == str(self.lease)
            and pools[0].get("Subnet") == str(self.subnet)
            and bool(answer.get("Internal")) == self.internal
        )


def docker_networks(site: Site) -> dict[str, DockerNetwork]:
    """Return the Docker networks that a host with a number needs, by their names."""
    gateways = site.gateways
    gateway = DockerNetwork(
        name=GATEWAY_NETWORK,
        network_id="",
        bridge=GATEWAY_BRIDGE,
        subnet=gateways,
        lease=gateways,
        gateway=gateways[1],
        mtu=site.mtu,
        isolated=True,
    )
    return {
        network.name: network for network in (gateway, *(_overlay(each, site.mtu) for each in site.segments.values()))
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
    )

"""The overlay of one host: its tunnel, and the way to each peer and network. Pure.

State grows with peers times networks, not with containers: a peer's part of a network is one route.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.intake.addresses import text_of
from worker.intake.words import AddressText
from worker.net.plan.encrypted import way_to
from worker.net.plan.kernel import LOCAL_TABLE, Address, Forwarding, Item, Neighbour, Route, Tunnel
from worker.net.plan.names import GATEWAY_BRIDGE, LOOPBACK, TUNNEL, TUNNEL_VNI, WIREGUARD_LINKS, peer_mac
from worker.net.plan.topology import NodeTopology, leases_of


def tunnel_link(topology: NodeTopology) -> Tunnel | None:
    """Return the VXLAN link; none before the host has a number and an address that peers send to."""
    if not topology.number or not topology.facts.address:
        return None
    return Tunnel(
        name=TUNNEL,
        mac=peer_mac(topology.number),
        vni=TUNNEL_VNI,
        port=topology.tunnel_port,
        local=topology.facts.address,
        mtu=topology.mtu,
    )


def kernel_items(topology: NodeTopology) -> frozenset[Item]:
    """Return everything but the link itself."""
    if not topology.number:
        return frozenset()
    return frozenset([*_own(topology), *_of_peers(topology), *_of_networks(topology)])


def sysctls(topology: NodeTopology) -> dict[str, str]:
    """Return the settings, by path below /proc/sys, of links that may not be there yet."""
    if not topology.number:
        return {}
    found = {
        # Rules must see what one container of a bridge sends to another, which is how a VIP is balanced there, and what
        # one answers before it leaves the bridge (`worker.net.plan.return_path`).
        "net/bridge/bridge-nf-call-iptables": "1",
        "net/ipv4/ip_forward": "1",
        # Connections that have ended would fill the table under churn.
        "net/netfilter/nf_conntrack_tcp_timeout_time_wait": "30",
        # The client's address comes out of the tunnel, and its route is another link's.
        f"net/ipv4/conf/{TUNNEL}/rp_filter": "2",
        f"net/ipv4/conf/{TUNNEL}/route_localnet": "1",
        f"net/ipv4/conf/{GATEWAY_BRIDGE}/route_localnet": "1",
    }
    # A peer may have changed over to the other link already, or not yet.
    found |= {f"net/ipv4/conf/{link}/rp_filter": "2" for link in WIREGUARD_LINKS}
    for segment in topology.segments.values():
        # Remote containers and virtual addresses are on the bridge, as far as the containers can tell.
        found[f"net/ipv4/conf/{segment.bridge}/proxy_arp"] = "1"
        found[f"net/ipv4/neigh/{segment.bridge}/proxy_delay"] = "0"
    return found


def _own(topology: NodeTopology) -> Iterator[Item]:
    if topology.facts.address:
        yield Address(TUNNEL, AddressText(f"{topology.tunnel}/32"))
    for segment in topology.segments.values():
        yield Route(text_of(segment.vips), LOOPBACK, table=LOCAL_TABLE)


def _of_peers(topology: NodeTopology) -> Iterator[Item]:
    assert topology.pool is not None, "asked only of a host with a number"
    own = text_of(topology.tunnel)
    for number, peer in topology.peers.items():
        gateway = text_of(topology.pool.tunnel_address(number))
        yield Neighbour(TUNNEL, gateway, peer_mac(number))
        yield Forwarding(TUNNEL, peer_mac(number), text_of(peer.addr))
        yield Route(AddressText(f"{gateway}/32"), TUNNEL, gateway, own)
        yield Route(text_of(topology.pool.gateway_range(number)), TUNNEL, gateway, own)


def _of_networks(topology: NodeTopology) -> Iterator[Item]:
    assert topology.pool is not None, "asked only of a host with a number"
    tunnels = {number: text_of(topology.pool.tunnel_address(number)) for number in topology.peers}
    for segment in topology.segments.values():
        own = text_of(segment.gateway)
        for number, lease in leases_of(segment, topology.peers):
            # Without a way there is no route: the bridge has the whole subnet, and nobody there answers.
            link = way_to(topology, topology.peers[number]) if segment.encrypted else TUNNEL
            if link:
                yield Route(text_of(lease), link, tunnels[number], own)

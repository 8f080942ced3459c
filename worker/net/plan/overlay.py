"""The overlay of one host: its tunnel, and the way to each peer and network, in IPv4 and in IPv6. Pure.

State grows with peers times networks, not with containers: a peer's part of a network is one route. IPv6 goes through
the same tunnel; what containers ask for on the link is answered by rules (`worker.net.plan.neighbours`), not by an
entry for each address.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.intake.addresses import text_of
from worker.intake.identifiers import AddressText
from worker.net.plan.encrypted import way_to
from worker.net.plan.kernel import (
    LOCAL_TABLE,
    Address,
    Forwarding,
    HardwareAddress,
    Item,
    Neighbour,
    Route,
    Tunnel,
)
from worker.net.plan.names import BRIDGE_MAC, GATEWAY_BRIDGE, LOOPBACK, TUNNEL, TUNNEL_VNI, WIREGUARD_LINKS, peer_mac
from worker.net.plan.topology import NodeTopology, NodeTopology6, ipv6, leases_of


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
    """Return the addresses, neighbours, forwarding entries and routes of both families: everything but the link."""
    if not topology.number:
        return frozenset()
    return frozenset([*_own(topology), *_of_peers(topology), *_of_networks(topology)]) | _items6(topology)


def sysctls(topology: NodeTopology) -> dict[str, str]:
    """Return the settings of both families by path below /proc/sys, also of links that may not be there yet."""
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
    return found | _sysctls6(topology)


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


# --- IPv6 ---


def _items6(topology: NodeTopology) -> frozenset[Item]:
    """Return the IPv6 addresses, neighbours and routes; nothing where containers have no IPv6."""
    here = ipv6(topology)
    if here is None:
        return frozenset()
    return frozenset([*_own6(here), *_of_peers6(here), *_of_networks6(here)])


def _sysctls6(topology: NodeTopology) -> dict[str, str]:
    """Return the settings of IPv6; those that keep the host's own way out come first."""
    here = ipv6(topology)
    if here is None:
        return {}
    # A host that forwards would not hear its routers any more, and lose the routes that it has from them.
    found = {f"net/ipv6/conf/{link}/accept_ra": "2" for link in sorted(topology.facts.advertised_links)}
    found |= {
        "net/ipv6/conf/all/forwarding": "1",
        # Docker sets it too when it makes a dual-stack network.
        "net/ipv6/conf/default/forwarding": "1",
        "net/bridge/bridge-nf-call-ip6tables": "1",
    }
    bridges = [GATEWAY_BRIDGE, *(each.segment.bridge for each in here.segments)]
    return found | {f"net/ipv6/conf/{bridge}/accept_ra": "0" for bridge in bridges}


def _own6(here: NodeTopology6) -> Iterator[Item]:
    if here.topology.facts.address:
        yield Address(TUNNEL, AddressText(f"{here.tunnel}/128"))
    gateways = here.gateways
    yield Address(GATEWAY_BRIDGE, AddressText(f"{gateways[1]}/{gateways.prefixlen}"))
    for each in here.segments:
        yield HardwareAddress(each.segment.bridge, BRIDGE_MAC)
        yield Address(each.segment.bridge, AddressText(f"{each.gateway}/{each.prefix.prefixlen}"))
        yield Route(text_of(each.vips), LOOPBACK, table=LOCAL_TABLE)


def _of_peers6(here: NodeTopology6) -> Iterator[Item]:
    own = text_of(here.tunnel)
    for number, tunnel, gateways in here.peers():
        way = text_of(tunnel)
        yield Neighbour(TUNNEL, way, peer_mac(number))
        yield Route(AddressText(f"{way}/128"), TUNNEL, way, own)
        yield Route(text_of(gateways), TUNNEL, way, own)


def _of_networks6(here: NodeTopology6) -> Iterator[Item]:
    ways = {number: text_of(tunnel) for number, tunnel, _ in here.peers()}
    for each in here.segments:
        own = text_of(each.gateway)
        for number, lease in here.leases_of(each):
            if not each.segment.encrypted:
                yield Route(text_of(lease), TUNNEL, ways[number], own)
            elif link := way_to(here.topology, here.topology.peers[number]):
                # WireGuard asks nobody for a gateway, but the kernel takes none that it has a route to by another link.
                yield Route(text_of(lease), link, AddressText(f"fe80::{number:x}"), own)

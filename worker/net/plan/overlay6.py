"""The overlay of one host in IPv6: beside what `worker.net.plan.overlay` has, through the same tunnel. Pure.

State grows with peers times networks here too. What containers ask for on the link is answered by rules
(`worker.net.plan.neighbours`), not by an entry for each address.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.intake.addresses import text_of
from worker.intake.words import AddressText
from worker.net.plan.encrypted import way_to
from worker.net.plan.kernel import LOCAL_TABLE, Address, HardwareAddress, Item, Neighbour, Route
from worker.net.plan.names import BRIDGE_MAC, GATEWAY_BRIDGE, LOOPBACK, TUNNEL, peer_mac
from worker.net.plan.topology import NodeTopology, NodeTopology6, ipv6


def kernel_items(topology: NodeTopology) -> frozenset[Item]:
    """Return addresses, neighbours and routes; nothing where containers have no IPv6."""
    here = ipv6(topology)
    if here is None:
        return frozenset()
    return frozenset([*_own(here), *_of_peers(here), *_of_networks(here)])


def sysctls(topology: NodeTopology) -> dict[str, str]:
    """Return the settings, by path below /proc/sys; those that keep the host's own way out come first."""
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


def _own(here: NodeTopology6) -> Iterator[Item]:
    if here.topology.facts.address:
        yield Address(TUNNEL, AddressText(f"{here.tunnel}/128"))
    gateways = here.gateways
    yield Address(GATEWAY_BRIDGE, AddressText(f"{gateways[1]}/{gateways.prefixlen}"))
    for each in here.segments:
        yield HardwareAddress(each.segment.bridge, BRIDGE_MAC)
        yield Address(each.segment.bridge, AddressText(f"{each.gateway}/{each.prefix.prefixlen}"))
        yield Route(text_of(each.vips), LOOPBACK, table=LOCAL_TABLE)


def _of_peers(here: NodeTopology6) -> Iterator[Item]:
    own = text_of(here.tunnel)
    for number, tunnel, gateways in here.peers():
        way = text_of(tunnel)
        yield Neighbour(TUNNEL, way, peer_mac(number))
        yield Route(AddressText(f"{way}/128"), TUNNEL, way, own)
        yield Route(text_of(gateways), TUNNEL, way, own)


def _of_networks(here: NodeTopology6) -> Iterator[Item]:
    ways = {number: text_of(tunnel) for number, tunnel, _ in here.peers()}
    for each in here.segments:
        own = text_of(each.gateway)
        for number, lease in here.leases_of(each):
            if not each.segment.encrypted:
                yield Route(text_of(lease), TUNNEL, ways[number], own)
            elif link := way_to(here.topology, here.topology.peers[number]):
                # WireGuard asks nobody for a gateway, but the kernel takes none that it has a route to by another link.
                yield Route(text_of(lease), link, AddressText(f"fe80::{number:x}"), own)

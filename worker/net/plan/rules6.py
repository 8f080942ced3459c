"""The IPv6 rules of one host that do not depend on services: a table beside that of `worker.net.plan.rules`. Pure.

What is not here, and why:
- The containers' name server is asked over IPv4, and the tunnel runs over it.
- The host's own ::1 cannot be sent to a container: its answer would come off a bridge for ::1, which the kernel drops
  (`worker.net.ports.loopback` serves it). What came with ::1 by any link but lo the kernel drops too.
- Link-local addresses mean nothing to a container on another link: what comes from one is refused at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, collapse_addresses

from common.net.addressing import with_ipv4
from worker.intake.addresses import IPAddress
from worker.net.plan import rules
from worker.net.plan.names import LOOPBACK6
from worker.net.plan.ruleset import IP6, Chain, Lookup, Nft, by_name, concatenate, members, word
from worker.net.plan.service_table import ServiceTable
from worker.net.plan.topology import NodeTopology, NodeTopology6, ipv6

_LOOPBACK = IPv6Network(LOOPBACK6)
# How a container finds its gateway's hardware address, and the host a container's. (ARP is none of a firewall's.)
_NEIGHBOURS = Nft("iifname $bridges icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }")


def service_frame(here: NodeTopology6) -> ServiceTable:
    """Return what the services' table has before any service is in it."""
    vips = [_LOOPBACK, *(each.vips for each in here.segments)]
    return ServiceTable(IP6, no_ports=tuple(collapse_addresses(vips)))


def own(topology: NodeTopology, addresses: Collection[IPAddress]) -> Collection[IPv6Address]:
    """Return the IPv6 addresses of this host's containers: those among `addresses`, and what follows from the rest."""
    found = {each for each in addresses if isinstance(each, IPv6Address)}
    known = [each for each in addresses if isinstance(each, IPv4Address)]
    half = ipv6(topology)
    for segment in half.segments if half is not None else ():
        found |= {with_ipv4(segment.prefix, each) for each in known if each in segment.segment.lease}
    return found


def base_lookups(here: NodeTopology6) -> dict[Nft, Lookup]:
    """Return the sets that describe this host and its peers."""
    segments, peers = list(here.segments), here.topology.peers
    plain, secret = ([each for each in segments if each.segment.encrypted is encrypted] for encrypted in (False, True))
    gateways = {number: part for number, _, part in here.peers()}
    loops = (concatenate(each, gateways[number]) for number, peer in peers.items() for each in peer.ipv6_addresses)
    return by_name(
        cluster=rules.ranges([here.mesh, *(each.prefix for each in segments)], IP6),
        viprange=rules.ranges((each.vips for each in segments), IP6),
        netpair=rules.pairs(((each.segment.bridge, each.prefix) for each in plain), IP6),
        # Encrypted networks, as in `worker.net.plan.rules`.
        secret=rules.ranges((each.prefix for each in secret), IP6),
        secretways=Lookup(Nft("ifname"), members(map(word, rules.encrypted_links(each.segment for each in secret)))),
        secretpair=rules.pairs(((each.segment.bridge, each.prefix) for each in secret), IP6),
        samebr=rules.same_bridges(each.segment for each in segments),
        nodeloop=Lookup(rules.address_pair(IP6), members(loops), interval=True),
        peermark=rules.peer_marks(peers),
        ways=rules.ways({number: tunnel for number, tunnel, _ in here.peers()}, IP6),
    )


def base_chains(here: NodeTopology6) -> dict[Nft, Chain]:
    """Return the chains that the kernel calls."""
    gateways = here.gateways
    return by_name(
        h_raw=Chain(tuple(_raw(here.topology)), rules.BEFORE_TRACKING),
        h_sent=Chain((rules.CHALLENGES,), rules.SENT_BEFORE_TRACKING),
        h_mark=Chain(rules.marking(IP6, gateways), rules.MARKING),
        h_post=Chain(_outgoing(gateways, here.all_gateways), rules.BEFORE_DOCKERS_NAT),
        h_in=Chain(_input(), rules.INPUT),
        h_let=Chain((Nft('$neighbours counter name "neighbours_let"', neighbours=_NEIGHBOURS),), rules.AFTER_FIREWALLS),
        h_begun=Chain(rules.count_first_packets(IP6)),
        h_fwd=Chain(rules.forward(IP6, here.tunnels), rules.FORWARD),
        **(rules.encrypted_chains(IP6) if rules.has_encrypted(here.topology) else {}),
    )


def _raw(topology: NodeTopology) -> Iterator[Nft]:
    if rules.has_encrypted(topology):
        yield rules.drop_unencrypted(IP6)
    if topology.peers:
        yield rules.conntrack_zones(IP6, topology.peers)


def _outgoing(gateways: IPv6Network, everywhere: IPv6Network) -> tuple[Nft, ...]:
    return (
        *rules.count_let_through(IP6),
        Nft("ct status dnat ip6 saddr . ip6 daddr @selfpair masquerade"),
        Nft("ct status dnat oifname $tunnel ip6 saddr . ip6 daddr @nodeloop masquerade"),
        # The gateway network's containers do not see each other, and cannot even ask for an address (ARP lets them).
        Nft("ct status dnat ip6 saddr $gateways oifname $gateway masquerade", gateways=gateways),
        Nft("ip6 saddr $gateways oifname != $both masquerade", gateways=gateways),
        Nft("ct status dnat ip6 saddr @cluster ip6 daddr $all oifname $tunnel masquerade", all=everywhere),
    )


def _input() -> tuple[Nft, ...]:
    return (
        Nft('$neighbours counter name "neighbours_came"', neighbours=_NEIGHBOURS),
        *rules.reject(Nft("ip6 daddr @viprange")),
        *rules.reject(Nft("ct state new ip6 daddr != ::1 $to @ports", to=rules.TO_PORT)),
        *rules.reject(Nft("ct state new ip6 daddr . $to @portsaddr", to=rules.TO_PORT)),
    )

"""The rules of one host that do not depend on services: isolation, the mesh's way back, what is refused. Pure.

Docker drops what it does not know in its own FORWARD chain, and gives networks no isolation across hosts. An accept
here cannot undo Docker's drop (that is what worker.net.apply.docker_user is for); a drop here holds.

Every packet of an open connection passes the chains that are not `nat`, several times with the tunnel. So in these the
tunnel's packets go first, what fails for most packets is asked first, and a link's name, 16 bytes to copy and compare,
after numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from types import MappingProxyType

from worker.intake.addresses import IPAddress, IPRange, Protocol
from worker.intake.identifiers import ChainName, InterfaceName
from worker.net.plan.names import CHALLENGE_MARK, LOOPBACK, WIREGUARD_LINKS, mark, peer_mac
from worker.net.plan.ruleset import (
    IP,
    IP6,
    Chain,
    Lookup,
    Nft,
    anonymous_set,
    by_name,
    concatenate,
    in_base_16,
    members,
    word,
)
from worker.net.plan.service_table import AtAddress, ServiceTable
from worker.net.plan.topology import NodeTopology, Segment

_MARKED = Nft("ct mark & $peer_bits != 0")
# What containers answer to clients that came through peers.
_ANSWERS = Nft("$marked ct direction reply iifname $gateway", marked=_MARKED)
CHALLENGES = Nft("meta mark $mark notrack", mark=in_base_16(CHALLENGE_MARK))
TO_PORT = Nft("meta l4proto . th dport")
_RESOLVER = Nft("ip daddr @resolvers meta l4proto { tcp, udp } th dport 53")
# What the host itself must get is counted when it came, and when no firewall dropped it, and so is what it must forward
# from other nodes' containers and to them: see `worker.net.watch.firewall`. Each table's names are its own, and all are
# read as one.
_BETWEEN_NODES = MappingProxyType({IP: (Nft("inward"), Nft("outward")), IP6: (Nft("inward6"), Nft("outward6"))})
COUNTERS, COUNTERS6 = (
    tuple(Nft("${what}_$how", what=what, how=how) for what in counted for how in (Nft("came"), Nft("let")))
    for counted in ((Nft("tunnel"), Nft("names"), *_BETWEEN_NODES[IP]), (Nft("neighbours"), *_BETWEEN_NODES[IP6]))
)
# The kernel keeps a connection when its first packet has passed everything: one that was dropped is never kept.
_FIRST = Nft("ct state new ct status & confirmed == 0")
ADDRESS = MappingProxyType({IP: Nft("ipv4_addr"), IP6: Nft("ipv6_addr")})

# Where the kernel calls our chains, in both families.
BEFORE_TRACKING = Nft("type filter hook prerouting priority raw; policy accept;")
SENT_BEFORE_TRACKING = Nft("type filter hook output priority raw; policy accept;")
MARKING = Nft("type filter hook prerouting priority mangle; policy accept;")
BEFORE_DOCKERS_NAT = Nft("type nat hook postrouting priority srcnat - 10; policy accept;")
INPUT = Nft("type filter hook input priority filter - 10; policy accept;")
AFTER_FIREWALLS = Nft("type filter hook input priority 500; policy accept;")
FORWARD = Nft("type filter hook forward priority filter - 10; policy accept;")


def service_frame(topology: NodeTopology) -> ServiceTable:
    """Return what the services' table has before any service is in it."""
    # The containers' name server is not a published port, even if a service publishes 53.
    names: dict[AtAddress, ChainName | None] = {
        (each.packed, protocol, 53): None for each in _resolvers(topology) for protocol in (Protocol.TCP, Protocol.UDP)
    }
    vips = collapse_addresses(segment.vips for segment in topology.segments.values())
    return ServiceTable(IP, at_address=names, no_ports=tuple(vips))


def task_lookups(addresses: Iterable[IPAddress], family: Nft = IP) -> dict[Nft, Lookup]:
    """Return the set of this host's containers, by their addresses: each is in it with itself."""
    return by_name(selfpair=Lookup(address_pair(family), members(concatenate(each, each) for each in addresses)))


def base_lookups(topology: NodeTopology) -> dict[Nft, Lookup]:
    """Return the sets that describe this host and its peers."""
    segments = topology.segments.values()
    assert topology.pool is not None, "asked only of a host with a number"
    pool, peers = topology.pool, topology.peers
    loops = (concatenate(peer.addr, pool.gateway_range(number)) for number, peer in peers.items())
    plain, secret = ([each for each in segments if each.encrypted is encrypted] for encrypted in (False, True))
    return by_name(
        cluster=ranges(collapse_addresses([each.subnet for each in segments] + list(pool.reserved())), IP),
        viprange=ranges(collapse_addresses(each.vips for each in segments), IP),
        netpair=pairs(((each.bridge, each.subnet) for each in plain), IP),
        # Encrypted networks: their subnets, the only links that these addresses may come from or go to.
        secret=ranges(collapse_addresses(each.subnet for each in secret), IP),
        secretways=Lookup(Nft("ifname"), members(map(word, encrypted_links(secret)))),
        secretpair=pairs(((each.bridge, each.subnet) for each in secret), IP),
        samebr=same_bridges(segments),
        nodeloop=Lookup(address_pair(IP), members(loops), interval=True),
        peers=Lookup(ADDRESS[IP], members(word(peer.addr) for peer in peers.values())),
        peermark=peer_marks(peers),
        ways=ways({number: pool.tunnel_address(number) for number in peers}, IP),
        resolvers=Lookup(ADDRESS[IP], members(map(word, _resolvers(topology)))),
    )


def base_chains(topology: NodeTopology) -> dict[Nft, Chain]:
    """Return the chains that the kernel calls."""
    assert topology.pool is not None, "asked only of a host with a number"
    gateways, everywhere, tunnels = topology.gateways, topology.pool.gateways, topology.pool.reserved()[0]
    return by_name(
        h_raw=Chain(tuple(_raw(topology)), BEFORE_TRACKING),
        h_sent=Chain((_skip_tracking(topology, Nft("daddr")), CHALLENGES), SENT_BEFORE_TRACKING),
        h_mark=Chain(marking(IP, gateways), MARKING),
        h_post=Chain(_outgoing(gateways, everywhere), BEFORE_DOCKERS_NAT),
        h_in=Chain(_input(topology), INPUT),
        h_let=Chain(_let(topology), AFTER_FIREWALLS),
        h_begun=Chain(count_first_packets(IP)),
        h_fwd=Chain(forward(IP, tunnels), FORWARD),
        **(encrypted_chains(IP) if has_encrypted(topology) else {}),
    )


# --- lookups ----------------------------------------------------------------------------------------------------------


def has_encrypted(topology: NodeTopology) -> bool:
    return any(segment.encrypted for segment in topology.segments.values())


def encrypted_links(segments: Iterable[Segment]) -> set[InterfaceName]:
    """Return the links that packets of these encrypted networks may be on."""
    return {LOOPBACK, *WIREGUARD_LINKS, *(segment.bridge for segment in segments)}


def ranges(networks: Iterable[IPRange], family: Nft) -> Lookup:
    """Return a set of ranges, which may not overlap."""
    return Lookup(ADDRESS[family], members(map(word, networks)), interval=True)


def pairs(networks: Iterable[tuple[InterfaceName, IPRange]], family: Nft) -> Lookup:
    """Return a set of bridges with their ranges."""
    found = (concatenate(bridge, part) for bridge, part in networks)
    return Lookup(concatenate(Nft("ifname"), ADDRESS[family]), members(found), interval=True)


def address_pair(family: Nft) -> Nft:
    return concatenate(ADDRESS[family], ADDRESS[family])


def same_bridges(segments: Iterable[Segment]) -> Lookup:
    found = (concatenate(segment.bridge, segment.bridge) for segment in segments)
    return Lookup(Nft("ifname . ifname"), members(found))


def peer_marks(numbers: Iterable[int]) -> Lookup:
    """Return the map from a peer's hardware address to the mark of what came through it."""
    return Lookup(Nft("ether_addr : mark"), {word(peer_mac(each)): in_base_16(mark(each)) for each in numbers})


def ways(tunnels: Mapping[int, IPAddress], family: Nft) -> Lookup:
    """Return the map from such a mark to the peer's end of the tunnel."""
    kind = Nft("mark : $address", address=ADDRESS[family])
    return Lookup(kind, {in_base_16(mark(number)): word(address) for number, address in tunnels.items()})


def _resolvers(topology: NodeTopology) -> list[IPv4Address]:
    return [*(segment.gateway for segment in topology.segments.values()), topology.gateways[1]]


# --- chains -----------------------------------------------------------------------------------------------------------


def _raw(topology: NodeTopology) -> Iterator[Nft]:
    yield Nft("ip daddr 127.0.0.0/8 iifname != $lo drop")
    # No peer is behind a bridge of ours: a container that says so would reach all networks of this host, or another's.
    yield Nft("udp dport $port iifname $bridges ip saddr @peers drop", port=topology.tunnel_port)
    yield _skip_tracking(topology, Nft("saddr"))
    if has_encrypted(topology):
        yield drop_unencrypted(IP)
    if topology.peers:
        yield conntrack_zones(IP, topology.peers)


def conntrack_zones(family: Nft, numbers: Iterable[int]) -> Nft:
    """Track apart what comes through each peer: one client port may come here through several at once."""
    found = anonymous_set(Nft("$mac : $number", mac=peer_mac(number), number=number) for number in numbers)
    return Nft(
        "iifname $tunnel $ip saddr != @cluster ct original zone set ether saddr map $zones", ip=family, zones=found
    )


def _skip_tracking(topology: NodeTopology, peer: Nft) -> Nft:
    """Spare the tunnel's own packets the connection table: what they carry is tracked, at both ends.

    Each connection would have an entry more, and half of what tracking costs would be for nothing.
    """
    return Nft("udp dport $port ip $peer @peers notrack accept", port=topology.tunnel_port, peer=peer)


def marking(family: Nft, gateways: IPRange) -> tuple[Nft, ...]:
    """Remember through which peer a client's connection came, and tell `worker.net.plan.return_path` of each answer."""
    client = Nft("iifname $tunnel $ip saddr != @cluster $ip daddr $gateways", ip=family, gateways=gateways)
    return (
        Nft("ct state new $client ct mark set ether saddr map @peermark", client=client),
        Nft("$answers meta mark set ct mark & $peer_bits", answers=_ANSWERS),
    )


def drop_unencrypted(family: Nft) -> Nft:
    """Drop packets whose source is in an encrypted network and that came without encryption."""
    return Nft("$ip saddr @secret iifname != @secretways drop", ip=family)


def encrypted_chains(family: Nft) -> dict[str, Chain]:
    """Let nothing of encrypted networks out on other links. A chain costs every packet, so others do without."""
    secret = Nft("$ip daddr @secret oifname != @secretways drop", ip=family)
    return {"h_last": Chain((secret,), Nft("type filter hook postrouting priority filter; policy accept;"))}


def _outgoing(gateways: IPv4Network, everywhere: IPv4Network) -> tuple[Nft, ...]:
    """Hide the sender where an answer to its own address would take another way, and where the way out needs it."""
    return (
        *count_let_through(IP),
        Nft("ct status dnat ip saddr . ip daddr @selfpair masquerade"),
        Nft("ct status dnat ip saddr 127.0.0.0/8 oifname $both masquerade"),
        Nft("ct status dnat oifname $tunnel ip saddr . ip daddr @nodeloop masquerade"),
        Nft("ip saddr $gateways oifname != $both masquerade", gateways=gateways),
        Nft("ct status dnat ip saddr @cluster ip daddr $all oifname $tunnel masquerade", all=everywhere),
    )


def _input(topology: NodeTopology) -> tuple[Nft, ...]:
    """Refuse at once what has no receiver: virtual addresses, and published ports without backends."""
    return (
        Nft('udp dport $port ip saddr @peers counter name "tunnel_came" accept', port=topology.tunnel_port),
        Nft("udp dport $port drop", port=topology.tunnel_port),
        Nft('$resolver counter name "names_came"', resolver=_RESOLVER),
        *reject(Nft("ip daddr @viprange")),
        Nft("$resolver accept", resolver=_RESOLVER),
        *reject(Nft("ct state new $to @ports", to=TO_PORT)),
        *reject(Nft("ct state new ip daddr . $to @portsaddr", to=TO_PORT)),
    )


def _let(topology: NodeTopology) -> tuple[Nft, ...]:
    return (
        Nft('udp dport $port counter name "tunnel_let" accept', port=topology.tunnel_port),
        Nft('$resolver counter name "names_let"', resolver=_RESOLVER),
    )


def count_first_packets(family: Nft) -> tuple[Nft, ...]:
    """Count the first packets of connections between containers of this host and other nodes, or their clients."""
    inward, outward = (Nft('counter name "${what}_came"', what=each) for each in _BETWEEN_NODES[family])
    return (
        Nft("iifname $tunnel oifname . $ip saddr @netpair $inward", ip=family, inward=inward),
        Nft("iifname $tunnel oifname $gateway $marked $inward", marked=_MARKED, inward=inward),
        Nft("iifname $encrypted oifname . $ip saddr @secretpair $inward", ip=family, inward=inward),
        Nft("oifname $tunnel iifname . $ip daddr @netpair $outward", ip=family, outward=outward),
        Nft("oifname $encrypted iifname . $ip daddr @secretpair $outward", ip=family, outward=outward),
    )


def count_let_through(family: Nft) -> tuple[Nft, ...]:
    """Count those first packets that all other rules have let through."""
    inward, outward = _BETWEEN_NODES[family]
    return (
        Nft('iifname $tunnels oifname $bridges counter name "${what}_let"', what=inward),
        Nft('oifname $tunnels iifname $bridges counter name "${what}_let"', what=outward),
    )


def reject(what: Nft) -> tuple[Nft, ...]:
    """Refuse packets so that their client hears of it at once."""
    return (Nft("$what meta l4proto tcp reject with tcp reset", what=what), Nft("$what reject", what=what))


def forward(family: Nft, tunnels: IPRange) -> tuple[Nft, ...]:
    """Let traffic within the cluster's networks through. `tunnels`: the addresses of the nodes' ends of the tunnel."""
    return (
        # What the way back leaves, because it is to be cut in parts, or while that table is missing.
        Nft("$answers dup to meta mark & $peer_bits map @ways drop", answers=_ANSWERS),
        Nft("ct state established,related accept"),
        Nft("$first jump h_begun", first=_FIRST),
        Nft("iifname . oifname @samebr accept"),
        Nft("iifname $tunnel oifname . $ip saddr @netpair accept", ip=family),
        Nft("oifname $tunnel iifname . $ip daddr @netpair accept", ip=family),
        Nft("iifname $encrypted oifname . $ip saddr @secretpair accept", ip=family),
        Nft("oifname $encrypted iifname . $ip daddr @secretpair accept", ip=family),
        Nft("iifname $encrypted drop"),
        Nft("oifname $encrypted drop"),
        Nft("oifname $both ct status dnat accept"),
        Nft("iifname $tunnel oifname $gateway $marked accept", marked=_MARKED),
        Nft("iifname $tunnel oifname $gateway $ip saddr $nodes accept", ip=family, nodes=tunnels),
        Nft("oifname $bridges drop"),
        Nft("iifname $gateway oifname != $tunnel accept"),
        Nft("iifname $bridges drop"),
        Nft("iifname $tunnel drop"),
        Nft("oifname $tunnel drop"),
    )

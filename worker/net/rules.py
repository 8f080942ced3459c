"""The rules of one host that do not depend on services: isolation, the mesh's way back, what is refused. Pure.

Docker drops what it does not know in its own FORWARD chain, and gives networks no isolation across hosts. An accept
here cannot undo Docker's drop (that is what worker.net.dockeruser is for); a drop here holds.

Every packet of an open connection passes the chains that are not `nat`, several times with the tunnel. So in these the
tunnel's packets go first, what fails for most packets is asked first, and a link's name, 16 bytes to copy and compare,
after numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, collapse_addresses

from worker.net.names import (
    BRIDGE_PREFIX,
    CHALLENGE_MARK,
    GATEWAY_BRIDGE,
    MARK_MASK,
    TUNNEL,
    WIREGUARD_LINKS,
    mark,
    peer_mac,
)
from worker.net.ruleset import Chain, Lookup, members
from worker.net.servicetable import Key, ServiceTable
from worker.net.site import Segment, Site

_MARKED = f"ct mark & {MARK_MASK:#x} != 0"
# What containers answer to clients that came through peers.
_ANSWERS = f'{_MARKED} ct direction reply iifname "{GATEWAY_BRIDGE}"'
CHALLENGES = f"meta mark {CHALLENGE_MARK:#x} notrack"
BOTH = f'{{ "{GATEWAY_BRIDGE}", "{TUNNEL}" }}'
_ENCRYPTED = "{ " + ", ".join(f'"{link}"' for link in WIREGUARD_LINKS) + " }"
_LINKS = "{ " + ", ".join(f'"{link}"' for link in (TUNNEL, *WIREGUARD_LINKS)) + " }"
_BETWEEN_NODES = {
    "inward": f'iifname {_LINKS} oifname "{BRIDGE_PREFIX}*"',
    "outward": f'oifname {_LINKS} iifname "{BRIDGE_PREFIX}*"',
}
TO_PORT = "meta l4proto . th dport"
_RESOLVER = "ip daddr @resolvers meta l4proto { tcp, udp } th dport 53"
# What the host itself must get is counted when it came, and when no firewall dropped it, and so is what it must forward
# from other nodes' containers and to them: see `worker.net.firewall`.
COUNTERS = tuple(f"{what}_{how}" for what in ("tunnel", "names", *_BETWEEN_NODES) for how in ("came", "let"))
# The kernel keeps a connection when its first packet has passed everything: one that was dropped is never kept.
_FIRST = "ct state new ct status & confirmed == 0"


def service_frame(site: Site) -> ServiceTable:
    """Return what the services' table has before any service is in it."""
    resolvers = [str(segment.gateway) for segment in site.segments.values()] + [str(site.gateways[1])]
    # The containers' name server is not a published port, even if a service publishes 53.
    names: dict[Key, str] = {(each, protocol, 53): "" for each in resolvers for protocol in ("tcp", "udp")}
    vips = collapse_addresses(segment.vips for segment in site.segments.values())
    return ServiceTable("ip", at_address=names, no_ports=tuple(vips))


def task_lookups(addresses: Collection[str]) -> dict[str, Lookup]:
    """Return the set of this host's containers, by their addresses: each is in it with itself."""
    return {"selfpair": Lookup("ipv4_addr . ipv4_addr", members(f"{each} . {each}" for each in addresses))}


def base_lookups(site: Site) -> dict[str, Lookup]:
    """Return the sets that describe this host and its peers."""
    segments = site.segments.values()
    assert site.pool is not None, "asked only of a host with a number"
    own_gateways = [str(segment.gateway) for segment in segments] + [str(site.gateways[1])]
    loops = {f"{peer.addr} . {site.pool.gateway_range(number)}" for number, peer in site.peers.items()}
    plain, secret = ([each for each in segments if each.encrypted is encrypted] for encrypted in (False, True))
    same = {f'"{segment.bridge}" . "{segment.bridge}"' for segment in segments}
    marks = {peer_mac(number): f"{mark(number):#x}" for number in site.peers}
    return {
        "cluster": _ranges([segment.subnet for segment in segments] + list(site.pool.reserved())),
        "viprange": _ranges(segment.vips for segment in segments),
        "netpair": Lookup("ifname . ipv4_addr", members(map(_pair, plain)), interval=True),
        # Encrypted networks: their subnets, the only links that these addresses may come from or go to.
        "secret": _ranges(segment.subnet for segment in secret),
        "secretways": Lookup("ifname", members(encrypted_ways(secret))),
        "secretpair": Lookup("ifname . ipv4_addr", members(map(_pair, secret)), interval=True),
        "samebr": Lookup("ifname . ifname", members(same)),
        "nodeloop": Lookup("ipv4_addr . ipv4_addr", members(loops), interval=True),
        "peers": Lookup("ipv4_addr", members(peer.addr for peer in site.peers.values())),
        "peermark": Lookup("ether_addr : mark", marks),
        "ways": Lookup("mark : ipv4_addr", {f"{mark(i):#x}": str(site.pool.tunnel_address(i)) for i in site.peers}),
        "resolvers": Lookup("ipv4_addr", members(own_gateways)),
    }


def base_chains(site: Site) -> dict[str, Chain]:
    """Return the chains that the kernel calls. Their names are no words of nft's."""
    assert site.pool is not None, "asked only of a host with a number"
    gateways, everywhere, tunnels = str(site.gateways), str(site.pool.gateways), str(site.pool.reserved()[0])
    return {
        "h_raw": Chain(tuple(_raw(site)), hook("filter", "prerouting", "raw")),
        "h_sent": Chain((_untracked(site, "daddr"), CHALLENGES), hook("filter", "output", "raw")),
        "h_mark": Chain(marking("ip", gateways), hook("filter", "prerouting", "mangle")),
        "h_post": Chain(_outgoing(gateways, everywhere), hook("nat", "postrouting", "srcnat - 10")),
        "h_in": Chain(_input(site), hook("filter", "input", "filter - 10")),
        "h_let": Chain(_let(site), hook("filter", "input", "500")),
        "h_begun": Chain(begun("ip")),
        "h_fwd": Chain(forward("ip", tunnels), hook("filter", "forward", "filter - 10")),
        **(encrypted_chains("ip") if has_encrypted(site) else {}),
    }


def has_encrypted(site: Site) -> bool:
    return any(segment.encrypted for segment in site.segments.values())


def encrypted_ways(segments: Iterable[Segment]) -> set[str]:
    """Return the links that packets of these encrypted networks may be on."""
    return {'"lo"', *(f'"{link}"' for link in WIREGUARD_LINKS), *(f'"{segment.bridge}"' for segment in segments)}


def _pair(segment: Segment) -> str:
    return f'"{segment.bridge}" . {segment.subnet}'


def hook(kind: str, place: str, priority: str) -> str:
    return f"type {kind} hook {place} priority {priority}; policy accept;"


def _ranges(networks: Collection[IPv4Network] | Iterator[IPv4Network]) -> Lookup:
    """Intervals of a set may not overlap."""
    return Lookup("ipv4_addr", members(map(str, collapse_addresses(networks))), interval=True)


def _raw(site: Site) -> Iterator[str]:
    yield 'ip daddr 127.0.0.0/8 iifname != "lo" drop'
    yield _untracked(site, "saddr")
    if has_encrypted(site):
        yield honest("ip")
    if site.peers:
        # One client port may come here through several peers at once: each has a zone of its own.
        zones = _map({peer_mac(number): str(number) for number in site.peers})
        yield f'iifname "{TUNNEL}" ip saddr != @cluster ct original zone set ether saddr map {zones}'


def _untracked(site: Site, peer: str) -> str:
    """Spare the tunnel's own packets the connection table: what they carry is tracked, at both ends.

    Each connection would have an entry more, and half of what tracking costs would be for nothing.
    """
    return f"udp dport {site.tunnel_port} ip {peer} @peers notrack accept"


def marking(family: str, gateways: str) -> tuple[str, ...]:
    """Remember through which peer a client's connection came, and tell `worker.net.wayback` of each answer."""
    client = f'iifname "{TUNNEL}" {family} saddr != @cluster {family} daddr {gateways}'
    return (
        f"ct state new {client} ct mark set ether saddr map @peermark",
        f"{_ANSWERS} meta mark set ct mark & {MARK_MASK:#x}",
    )


def honest(family: str) -> str:
    """Drop what says that it is of an encrypted network, and came without encryption."""
    return f"{family} saddr @secret iifname != @secretways drop"


def encrypted_chains(family: str) -> dict[str, Chain]:
    """Let nothing of encrypted networks out on other links. A chain costs every packet, so others do without."""
    secret = f"{family} daddr @secret oifname != @secretways drop"
    return {"h_last": Chain((secret,), hook("filter", "postrouting", "filter"))}


def _outgoing(gateways: str, everywhere: str) -> tuple[str, ...]:
    """Hide the sender where its own address would lead the answer astray, and where the way out needs it."""
    return (
        *let_forward("ip"),
        "ct status dnat ip saddr . ip daddr @selfpair masquerade",
        f"ct status dnat ip saddr 127.0.0.0/8 oifname {BOTH} masquerade",
        f'ct status dnat oifname "{TUNNEL}" ip saddr . ip daddr @nodeloop masquerade',
        f"ip saddr {gateways} oifname != {BOTH} masquerade",
        f'ct status dnat ip saddr @cluster ip daddr {everywhere} oifname "{TUNNEL}" masquerade',
    )


def _input(site: Site) -> tuple[str, ...]:
    """Refuse at once what nobody is there for."""
    return (
        f'udp dport {site.tunnel_port} ip saddr @peers counter name "tunnel_came" accept',
        f"udp dport {site.tunnel_port} drop",
        f'{_RESOLVER} counter name "names_came"',
        *refused("ip daddr @viprange"),
        f"{_RESOLVER} accept",
        *refused(f"ct state new {TO_PORT} @ports"),
        *refused(f"ct state new ip daddr . {TO_PORT} @portsaddr"),
    )


def _let(site: Site) -> tuple[str, ...]:
    return (
        f'udp dport {site.tunnel_port} counter name "tunnel_let" accept',
        f'{_RESOLVER} counter name "names_let"',
    )


def begun(family: str) -> tuple[str, ...]:
    """Count the first packets of connections between containers of this host and other nodes, or their clients."""
    inward, outward = (f'counter name "{between_nodes(what, family)}_came"' for what in ("inward", "outward"))
    return (
        f'iifname "{TUNNEL}" oifname . {family} saddr @netpair {inward}',
        f'iifname "{TUNNEL}" oifname "{GATEWAY_BRIDGE}" {_MARKED} {inward}',
        f"iifname {_ENCRYPTED} oifname . {family} saddr @secretpair {inward}",
        f'oifname "{TUNNEL}" iifname . {family} daddr @netpair {outward}',
        f"oifname {_ENCRYPTED} iifname . {family} daddr @secretpair {outward}",
    )


def let_forward(family: str) -> tuple[str, ...]:
    """Count those of them that all others have let through."""
    ways = _BETWEEN_NODES.items()
    return tuple(f'{way} counter name "{between_nodes(what, family)}_let"' for what, way in ways)


def between_nodes(what: str, family: str) -> str:
    """Return how the counters of a direction begin: each table's names are its own, and all are read as one."""
    return f"{what}6" if family == "ip6" else what


def refused(what: str) -> tuple[str, ...]:
    """Refuse in the way that a client hears at once."""
    return (f"{what} meta l4proto tcp reject with tcp reset", f"{what} reject")


def forward(family: str, tunnels: str) -> tuple[str, ...]:
    """Let through what belongs together; `family` is nft's word: `ip` or `ip6`."""
    return (
        # What the way back leaves, because it is to be cut in parts, or while that table is missing.
        f"{_ANSWERS} dup to meta mark & {MARK_MASK:#x} map @ways drop",
        "ct state established,related accept",
        f"{_FIRST} jump h_begun",
        "iifname . oifname @samebr accept",
        f'iifname "{TUNNEL}" oifname . {family} saddr @netpair accept',
        f'oifname "{TUNNEL}" iifname . {family} daddr @netpair accept',
        f"iifname {_ENCRYPTED} oifname . {family} saddr @secretpair accept",
        f"oifname {_ENCRYPTED} iifname . {family} daddr @secretpair accept",
        f"iifname {_ENCRYPTED} drop",
        f"oifname {_ENCRYPTED} drop",
        f"oifname {BOTH} ct status dnat accept",
        f'iifname "{TUNNEL}" oifname "{GATEWAY_BRIDGE}" {_MARKED} accept',
        f'iifname "{TUNNEL}" oifname "{GATEWAY_BRIDGE}" {family} saddr {tunnels} accept',
        f'oifname "{BRIDGE_PREFIX}*" drop',
        f'iifname "{GATEWAY_BRIDGE}" oifname != "{TUNNEL}" accept',
        f'iifname "{BRIDGE_PREFIX}*" drop',
        f'iifname "{TUNNEL}" drop',
        f'oifname "{TUNNEL}" drop',
    )


def _map(elements: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{key} : {value}" for key, value in elements.items()) + " }"

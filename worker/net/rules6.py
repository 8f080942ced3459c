"""The IPv6 rules of one host that do not depend on services: a table beside that of `worker.net.rules`. Pure.

What is not here, and why:
- The containers' name server is asked over IPv4, and the tunnel runs over it.
- The host's own ::1 cannot be sent to a container: its answer would come off a bridge for ::1, which the kernel drops
  (`worker.net.loopback` serves it). What came with ::1 by any link but lo the kernel drops too.
- Link-local addresses mean nothing to a container on another link: what comes from one is refused at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Network, collapse_addresses

from common.addressing6 import with_ipv4
from worker.net.names import GATEWAY_BRIDGE, LOOPBACK6, TUNNEL, mark, peer_mac
from worker.net.rules import (
    BOTH,
    CHALLENGES,
    TO_PORT,
    begun,
    between_nodes,
    encrypted_chains,
    encrypted_ways,
    forward,
    has_encrypted,
    honest,
    hook,
    let_forward,
    marking,
    refused,
)
from worker.net.ruleset import Chain, Lookup, members
from worker.net.servicetable import ServiceTable
from worker.net.site import Site
from worker.net.site6 import Segment6, Site6, ipv6

COUNTERS = tuple(f"{between_nodes(what, 'ip6')}_{how}" for what in ("inward", "outward") for how in ("came", "let"))
_LOOPBACK = IPv6Network(f"{LOOPBACK6}/128")


def service_frame(here: Site6) -> ServiceTable:
    """Return what the services' table has before any service is in it."""
    vips = [_LOOPBACK, *(each.vips for each in here.segments)]
    return ServiceTable("ip6", no_ports=tuple(collapse_addresses(vips)))


def task_lookups(addresses: Collection[str]) -> dict[str, Lookup]:
    """Return the set of this host's containers, by their addresses: each is in it with itself."""
    return {"selfpair": Lookup("ipv6_addr . ipv6_addr", members(f"{each} . {each}" for each in addresses))}


def own(site: Site, addresses: Collection[str]) -> Collection[str]:
    """Return the IPv6 addresses of this host's containers: those among `addresses`, and what follows from the rest."""
    found = {each for each in addresses if ":" in each}
    known = [IPv4Address(each) for each in addresses if ":" not in each]
    half = ipv6(site)
    for segment in half.segments if half is not None else ():
        found |= {str(with_ipv4(segment.prefix, each)) for each in known if each in segment.segment.lease}
    return found


def base_lookups(here: Site6) -> dict[str, Lookup]:
    """Return the sets that describe this host and its peers."""
    segments = list(here.segments)
    plain, secret = ([each for each in segments if each.segment.encrypted is encrypted] for encrypted in (False, True))
    hosts = ((number, address) for number, peer in here.site.peers.items() for address in peer.ipv6_addresses)
    ranges = {number: gateways for number, _, gateways in here.peers()}
    loops = {f"{address} . {ranges[number]}" for number, address in hosts}
    same = {f'"{each.segment.bridge}" . "{each.segment.bridge}"' for each in segments}
    return {
        "cluster": _ranges(map(str, [here.mesh, *(each.prefix for each in segments)])),
        "viprange": _ranges(str(each.vips) for each in segments),
        "netpair": Lookup("ifname . ipv6_addr", members(map(_pair, plain)), interval=True),
        # Encrypted networks, as in `worker.net.rules`.
        "secret": _ranges(str(each.prefix) for each in secret),
        "secretways": Lookup("ifname", members(encrypted_ways(each.segment for each in secret))),
        "secretpair": Lookup("ifname . ipv6_addr", members(map(_pair, secret)), interval=True),
        "samebr": Lookup("ifname . ifname", members(same)),
        "nodeloop": Lookup("ipv6_addr . ipv6_addr", members(loops), interval=True),
        "peermark": Lookup("ether_addr : mark", {peer_mac(i): f"{mark(i):#x}" for i in here.site.peers}),
        "ways": Lookup("mark : ipv6_addr", {f"{mark(number):#x}": str(tunnel) for number, tunnel, _ in here.peers()}),
    }


def base_chains(here: Site6) -> dict[str, Chain]:
    """Return the chains that the kernel calls."""
    gateways = str(here.gateways)
    return {
        "h_raw": Chain(tuple(_raw(here)), hook("filter", "prerouting", "raw")),
        "h_sent": Chain((CHALLENGES,), hook("filter", "output", "raw")),
        "h_mark": Chain(marking("ip6", gateways), hook("filter", "prerouting", "mangle")),
        "h_post": Chain(_outgoing(gateways, str(here.all_gateways)), hook("nat", "postrouting", "srcnat - 10")),
        "h_in": Chain(_input(), hook("filter", "input", "filter - 10")),
        "h_begun": Chain(begun("ip6")),
        "h_fwd": Chain(forward("ip6", str(here.tunnels)), hook("filter", "forward", "filter - 10")),
        **(encrypted_chains("ip6") if has_encrypted(here.site) else {}),
    }


def _pair(each: Segment6) -> str:
    return f'"{each.segment.bridge}" . {each.prefix}'


def _ranges(networks: Iterable[str]) -> Lookup:
    return Lookup("ipv6_addr", members(networks), interval=True)


def _raw(here: Site6) -> Iterator[str]:
    if has_encrypted(here.site):
        yield honest("ip6")
    if here.site.peers:
        zones = ", ".join(f"{peer_mac(number)} : {number}" for number in here.site.peers)
        yield f'iifname "{TUNNEL}" ip6 saddr != @cluster ct original zone set ether saddr map {{ {zones} }}'


def _outgoing(gateways: str, everywhere: str) -> tuple[str, ...]:
    return (
        *let_forward("ip6"),
        "ct status dnat ip6 saddr . ip6 daddr @selfpair masquerade",
        f'ct status dnat oifname "{TUNNEL}" ip6 saddr . ip6 daddr @nodeloop masquerade',
        # The gateway network's containers do not see each other, and cannot even ask for an address (ARP lets them).
        f'ct status dnat ip6 saddr {gateways} oifname "{GATEWAY_BRIDGE}" masquerade',
        f"ip6 saddr {gateways} oifname != {BOTH} masquerade",
        f'ct status dnat ip6 saddr @cluster ip6 daddr {everywhere} oifname "{TUNNEL}" masquerade',
    )


def _input() -> tuple[str, ...]:
    return (
        *refused("ip6 daddr @viprange"),
        *refused(f"ct state new ip6 daddr != ::1 {TO_PORT} @ports"),
        *refused(f"ct state new ip6 daddr . {TO_PORT} @portsaddr"),
    )

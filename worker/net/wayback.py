"""The mesh's way back: what a container answers to a client that came through a peer goes back through that peer. Pure.

`worker.net.rules` puts the peer's number into the mark of such a packet while it is in the gateway's bridge, where it
is tracked (`bridge-nf-call-iptables`). As it leaves the bridge for the host, a chain of that link sends it into the
tunnel, and it passes neither routing nor the chains of forwarding. Routing rules would lead it the same way, but with a
single one the kernel looks up each packet of the whole host in one table after the other (decision 18).

Nothing cuts a packet on this way. What is too large, and no TCP, which is cut later, is left to the chain `h_fwd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from worker.net.names import GATEWAY_BRIDGE, MARK_MASK, TUNNEL, mark
from worker.net.ruleset import Chain, Lookup, Ruleset
from worker.net.site import Site
from worker.net.site6 import ipv6

# nft's word for tables of single links. The kernel knows them by number: a link that is made anew is another one.
FAMILY = "netdev"
_HOOK = f'type filter hook ingress device "{GATEWAY_BRIDGE}" priority filter; policy accept;'


def ruleset(site: Site) -> Ruleset | None:
    """Return the table of the gateway's link; None without a tunnel or anybody at its other end."""
    if not site.peers or not site.facts.address:
        return None
    peers = {f"{mark(number):#x}": f"goto {_chain(number)}" for number in site.peers}
    chains = {"h_back": Chain((f"meta mark & {MARK_MASK:#x} vmap @peers",), _HOOK)}
    chains |= {_chain(number): Chain(tuple(_through(site, number))) for number in site.peers}
    return Ruleset({"peers": Lookup("mark : verdict", peers)}, chains, family=FAMILY)


def _chain(number: int) -> str:
    return f"back_{number}"


def _through(site: Site, number: int) -> Iterator[str]:
    assert site.pool is not None, "a host with peers has a number"
    tunnel = site.pool.tunnel_address(number)
    yield f"meta length > {site.mtu} meta l4proto != tcp return"
    yield _send("ip", tunnel)
    half = ipv6(site)
    if half is not None:
        yield _send("ip6", half.of(tunnel))


def _send(family: str, peer: IPv4Address | IPv6Address) -> str:
    """Send a packet to a peer, without the mark: with one, the tunnel would look up the way to the peer each time."""
    unmarked = f"meta mark set meta mark & {~MARK_MASK & 0xFFFFFFFF:#x}"
    return f'meta protocol {family} {unmarked} fwd {family} to {peer} device "{TUNNEL}"'

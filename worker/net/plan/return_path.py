"""The mesh's way back: what a container answers to a client that came through a peer goes back through that peer. Pure.

`worker.net.plan.rules` puts the peer's number into the mark of such a packet while it is in the gateway's bridge, where
it is tracked (`bridge-nf-call-iptables`). As it leaves the bridge for the host, a chain of that link sends it into the
tunnel, and it passes neither routing nor the chains of forwarding. Routing rules would lead it the same way, but with a
single one the kernel looks up each packet of the whole host in one table after the other (decision 18).

Nothing cuts a packet on this way. What is too large, and no TCP, which is cut later, is left to the chain `h_fwd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from worker.net.plan.names import mark
from worker.net.plan.ruleset import IP, IP6, Chain, Lookup, Nft, Ruleset, in_base_16
from worker.net.plan.topology import NodeTopology, ipv6

# nft's word for tables of single links. The kernel knows them by number: a link that is made anew is another one.
FAMILY = Nft("netdev")
_HOOK = Nft("type filter hook ingress device $gateway priority filter; policy accept;")


def ruleset(topology: NodeTopology) -> Ruleset | None:
    """Return the table of the gateway's link; None without a tunnel or anybody at its other end."""
    if not topology.peers or not topology.facts.address:
        return None
    ways = {in_base_16(mark(number)): Nft("goto $chain", chain=_chain(number)) for number in topology.peers}
    chains = {Nft("h_back"): Chain((Nft("meta mark & $peer_bits vmap @peers"),), _HOOK)}
    chains |= {_chain(number): Chain(tuple(_through(topology, number))) for number in topology.peers}
    return Ruleset({Nft("peers"): Lookup(Nft("mark : verdict"), ways)}, chains, family=FAMILY)


def _chain(number: int) -> Nft:
    return Nft("back_$number", number=number)


def _through(topology: NodeTopology, number: int) -> Iterator[Nft]:
    assert topology.pool is not None, "a host with peers has a number"
    tunnel = topology.pool.tunnel_address(number)
    yield Nft("meta length > $mtu meta l4proto != tcp return", mtu=topology.mtu)
    yield _send(IP, tunnel)
    half = ipv6(topology)
    if half is not None:
        yield _send(IP6, half.of(tunnel))


def _send(family: Nft, peer: IPv4Address | IPv6Address) -> Nft:
    """Send a packet to a peer, without the mark: with one, the tunnel would look up the way to the peer each time."""
    unmarked = Nft("meta mark set meta mark & $no_peer_bits")
    return Nft("meta protocol $ip $unmarked fwd $ip to $peer device $tunnel", ip=family, unmarked=unmarked, peer=peer)

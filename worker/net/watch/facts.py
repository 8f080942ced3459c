"""The facts of a host that plans need: the address that its peers send to, and what it reaches by other routes."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from pathlib import Path

from worker.intake.identifiers import Id
from worker.intake.world import Peer
from worker.net.apply.netlink import Seen
from worker.net.apply.sysctls import PROC
from worker.net.plan.names import BRIDGE_PREFIX, SMALLEST_MTU6, TUNNEL, TUNNEL_OVERHEAD, WIREGUARD_LINKS
from worker.net.plan.topology import DEFAULT_MTU, HostFacts

NO_IPV6 = "the kernel has no IPv6, or net.ipv6.conf.all.disable_ipv6 switches it off"
_ANY_PORT = 9
_MOST_ASKED = 100
_LISTING = Path("/proc/net/if_inet6")
_GLOBAL = 0
_INNER_LINKS = ("lo", "docker", "br-", "veth", TUNNEL, BRIDGE_PREFIX, *WIREGUARD_LINKS)


def facts(node_id: Id, seen: Seen, peers: Iterable[Peer], advertised: str, before: str = "") -> HostFacts:
    """Put the facts together. `advertised`: the address that the operator gave, or empty; `before`: the last one."""
    address = advertised if _is_ipv4(advertised) else _address_towards(peers, before)
    mtu = seen.addresses.get(address) or DEFAULT_MTU
    foreign = [network for network, link in seen.ranges if link != TUNNEL and not link.startswith(BRIDGE_PREFIX)]
    return HostFacts(
        node_id=node_id,
        address=address if address in seen.addresses else "",
        mtu=mtu,
        ranges=tuple(network for network in foreign if isinstance(network, IPv4Network)),
        ipv6=not ipv6_refusal(mtu),
        ranges6=tuple(network for network in foreign if isinstance(network, IPv6Network) and _is_elsewhere(network)),
        advertised_links=seen.advertised,
        wireguard_links=frozenset(name for name in WIREGUARD_LINKS if name in seen.links),
    )


def ipv6_refusal(mtu: int = DEFAULT_MTU, proc: Path = PROC) -> str:
    """Say why containers can have no IPv6, on a host whose link to its peers has this MTU (bytes); empty if they can.

    The kernel takes IPv6, and all IPv6 addresses, from a link of a smaller MTU than IPv6 has at least.
    """
    if not _has_ipv6(proc):
        return NO_IPV6
    needed = SMALLEST_MTU6 + TUNNEL_OVERHEAD
    if mtu < needed:
        return f"the link to the other nodes has an MTU of {mtu} bytes, and IPv6 in the tunnel needs {needed}"
    return ""


def _has_ipv6(proc: Path) -> bool:
    """Whether the kernel has IPv6 and nobody has switched it off."""
    try:
        return (proc / "net/ipv6/conf/all/disable_ipv6").read_text().strip() == "0"
    except FileNotFoundError:
        return False


def ipv6_addresses(listing: Path = _LISTING) -> tuple[str, ...]:
    """Return the addresses from which this host asks others: those of links that are neither ours nor Docker's."""
    try:
        lines = listing.read_text().splitlines()
    except FileNotFoundError:
        return ()
    found = []
    for address, _, _, scope, _, link in (line.split() for line in lines):
        if int(scope, 16) == _GLOBAL and not link.startswith(_INNER_LINKS):
            found.append(str(IPv6Address(bytes.fromhex(address))))
    return tuple(sorted(found))


def _is_elsewhere(network: IPv6Network) -> bool:
    return not network.is_link_local and not network.is_multicast


def _address_towards(peers: Iterable[Peer], before: str) -> str:
    """Return the address from which most peers are reached, or still that of before if any is.

    A single peer does not decide: it might have given an address that is reached from another address of this host, and
    the other peers drop what comes from that one.
    """
    votes = Counter(address for peer in islice(peers, _MOST_ASKED) if (address := _source_towards(peer)))
    if before in votes:
        return before
    return max(votes, key=votes.__getitem__, default="")


def _source_towards(peer: Peer) -> str:
    """Return the address that the kernel would use to reach a peer, empty without a way; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(peer.addr), _ANY_PORT))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True

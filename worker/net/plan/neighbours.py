"""Who answers when a container asks on its link for an IPv6 address that another host has, or a service. Pure.

For IPv4 the bridge does (proxy ARP): for all that the host has a route to. The kernel's NDP proxy knows single
addresses only, and would need an entry for each container of the cluster. So one rule does it for whole ranges, without
a program that has to run: where a question comes into a bridge, it is turned into its own answer and goes back to who
asked. Question and answer (RFC 4861, 4.3 and 4.4) have the same length and the same places:

                     question: neighbour solicitation        answer: neighbour advertisement
    Ethernet, IPv6   to whoever has the address              to the asker; from this host's end of the tunnel
    @th 0            type 135, code 0                        type 136, code 0
    @th 32           0                                       flags: a router's, solicited, override
    @th 64           the address                             the same
    @th 192          option 1: the asker's MAC               option 2: the bridge's MAC

nft keeps ICMPv6's checksum right only for changes of IPv6 addresses, which are part of it. So what the other changes
add is written to the source address first, and what they take away is taken from there: the old MAC is put there
without being counted, and counted when it is overwritten by the true source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, IPv6Network, collapse_addresses

from worker.net.plan.names import BRIDGE_MAC
from worker.net.plan.ruleset import BRIDGE, Chain, Lookup, Nft, Ruleset, in_base_16, members
from worker.net.plan.topology import NodeTopology, Segment6, ipv6

# Where the address is that is asked for: only nft 1.0.8 and later, not Debian 12's, have a name for it.
_TARGET = Nft("@th,64,128")
_FLAGS = 0xE000
_ADDED_TYPE = 0x0100  # 136 - 135, in the first byte of two
_ADDED_OPTION = 0x0100


def ruleset(topology: NodeTopology) -> Ruleset | None:
    """Return the table of the bridges; None where there is no dual-stack network."""
    here = ipv6(topology)
    segments = list(here.segments) if here is not None else []
    if here is None or not segments:
        return None
    ranges = collapse_addresses(part for each in segments for part in _elsewhere(each))
    elsewhere = Lookup(_TARGET, members(map(_span, ranges)), interval=True)
    chain = Chain((_answer(here.tunnel),), Nft("type filter hook prerouting priority dstnat; policy accept;"))
    return Ruleset({Nft("elsewhere"): elsewhere}, {Nft("h_nd"): chain}, family=BRIDGE)


def _elsewhere(segment: Segment6) -> Iterable[IPv6Network]:
    """Return what of a network is not in this host's own part of it, virtual addresses included."""
    return segment.within.address_exclude(segment.lease)


def _span(part: IPv6Network) -> Nft:
    """Write a range as nft reads numbers: it takes no prefix of what has a place but no name."""
    return Nft("$first-$last", first=in_base_16(int(part[0])), last=in_base_16(int(part[-1])))


def _answer(source: IPv6Address) -> Nft:
    # What asks for an address that it means to take itself (RFC 4862) has none yet.
    asked = Nft("icmpv6 type nd-neighbor-solicit ip6 saddr != :: $target @elsewhere", target=_TARGET)
    counted = Nft("ip6 saddr set $added", added=IPv6Address(b"".join(_checksum_additions())))
    bridge = in_base_16(int(BRIDGE_MAC.replace(":", ""), 16))
    return Nft(
        "$asked ether daddr set ether saddr ip6 daddr set ip6 saddr $counted "
        "@nh,64,48 set @th,208,48 @nh,112,80 set 0 ip6 saddr set $source "
        "@th,0,16 set 0x8800 @th,32,32 set $flags @th,192,8 set 2 @th,208,48 set $bridge",
        asked=asked,
        counted=counted,
        source=source,
        flags=in_base_16(_FLAGS << 16),
        bridge=bridge,
    )


def _checksum_additions() -> Iterator[bytes]:
    """Yield the words by which the checksum's sum grows, as an address."""
    for word in (_ADDED_TYPE, _FLAGS, _ADDED_OPTION):
        yield word.to_bytes(2)
    yield bytes.fromhex(BRIDGE_MAC.replace(":", ""))
    yield bytes(4)

"""Names and numbers of the data plane's links, tables and routes on a host: all tell that they are ours."""

from __future__ import annotations

from functools import lru_cache

from common.net import addressing
from worker.intake.addresses import address4, address6
from worker.intake.identifiers import AddressText, Id, InterfaceName

LINK_PREFIX = "orc-"
TUNNEL = InterfaceName(f"{LINK_PREFIX}vx")
LOOPBACK = InterfaceName("lo")
GATEWAY_BRIDGE = InterfaceName("oc-gw")
BRIDGE_PREFIX = "oc-"
TABLE = "orc"
SERVICES_TABLE = "orc-services"
LABEL_LEASE = "swarm.x.lease"
# The origin that the kernel keeps with each of our routes (`ip route show proto 111`).
PROTOCOL = 111
TUNNEL_VNI = 4096
DEFAULT_TUNNEL_PORT = 4789
TUNNEL_OVERHEAD = 50
# A link of a smaller MTU has no IPv6 (RFC 8200).
SMALLEST_MTU6 = 1280
# What carries encrypted networks: keys of even generations have the first link and port, those of odd ones the second.
WIREGUARD_PREFIX = f"{LINK_PREFIX}wg"
WIREGUARD_LINKS = (InterfaceName(f"{WIREGUARD_PREFIX}0"), InterfaceName(f"{WIREGUARD_PREFIX}1"))
# What a packet grows by: 32 bytes of WireGuard's, 8 of UDP's, 40 of IPv6's (20 of IPv4's).
WIREGUARD_OVERHEAD = 80
# Every dual-stack network's bridge has this one, on every host: no two of them are ever on one link.
BRIDGE_MAC = AddressText("02:6f:63:01:00:01")
LOOPBACK6 = address6("::1")
LOOPBACK6_AS_IPV4 = address4(addressing.LOOPBACK6_AS_IPV4)
# A peer's number within a packet's mark: bits 16 to 27.
MARK_SHIFT = 16
MARK_MASK = 0x0FFF0000
# On packets of ours that are not part of a connection (worker.net.apply.conntrack).
CHALLENGE_MARK = 1 << 28


def bridge_name(network_id: Id) -> InterfaceName:
    """Return a network's bridge on every host; an interface's name has at most 15 characters."""
    return InterfaceName(f"{BRIDGE_PREFIX}{network_id[:12]}")


@lru_cache(maxsize=4096)
def peer_mac(number: int) -> AddressText:
    """Return the hardware address of a node's end of the tunnel."""
    return AddressText(f"02:6f:63:00:{number >> 8:02x}:{number & 255:02x}")


def wireguard_link(generation: int) -> InterfaceName:
    return WIREGUARD_LINKS[generation % 2]


def wireguard_port(generation: int) -> int:
    return addressing.WIREGUARD_PORTS[generation % 2]


def mark(number: int) -> int:
    return number << MARK_SHIFT

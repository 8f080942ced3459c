"""What the data plane's things on a host are called. All of it can be told by its name to be ours."""

from __future__ import annotations

from common.model.network import Network

TUNNEL = "orc-vx"
GATEWAY_BRIDGE = "oc-gw"
BRIDGE_PREFIX = "oc-"
TABLE = "orc"
# Docker gives the network whose name sorts first the default route, so this one's must sort before all of ours.
GATEWAY_NETWORK = "00-orc-gw"
LABEL_LEASE = "swarm.x.lease"
# The origin that the kernel keeps with each of our routes and rules (`ip route show proto 111`).
PROTOCOL = 111
TUNNEL_VNI = 4096
DEFAULT_TUNNEL_PORT = 4789
TUNNEL_OVERHEAD = 50
# A peer's number within a packet's mark: bits 16 to 27.
MARK_SHIFT = 16
MARK_MASK = 0x0FFF0000
_RULES_FROM = 20_000
_TABLES_FROM = 10_000


def bridge_name(network_id: str) -> str:
    """Return a network's bridge on every host; an interface's name has at most 15 characters."""
    return f"{BRIDGE_PREFIX}{network_id[:12]}"


def docker_name(network: Network) -> str:
    """Return the Docker network's name: two networks of one name may overlap in time, the old one's end and the new."""
    return f"orc-{network.name}-{network.id[:5]}"


def peer_mac(number: int) -> str:
    """Return the hardware address of a node's end of the tunnel."""
    return f"02:6f:63:00:{number >> 8:02x}:{number & 255:02x}"


def mark(number: int) -> int:
    return number << MARK_SHIFT


def rule_priority(number: int) -> int:
    return _RULES_FROM + number


def return_table(number: int) -> int:
    """Return the routing table that leads back to a peer."""
    return _TABLES_FROM + number

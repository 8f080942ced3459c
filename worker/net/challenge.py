"""Let clients hear that their connection was cut, those too that wait without sending anything.

A reset counts only with the very sequence number that its receiver waits for (RFC 5961, section 3), and nobody here
knows it. But a SYN in an open connection is answered by an ACK that has it, whatever number the SYN has (section 4). So
the client is sent a SYN from the address that it is connected to; its ACK goes the way of all that it sends now: it is
balanced anew, and whoever gets it resets it. What is already closed at the client answers nothing, or a reset.
"""

from __future__ import annotations

import logging
import re
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address

from worker.net.names import CHALLENGE_MARK

# One line of conntrack's; the second sender is who answers. In other states the client is not there yet, or no more: a
# SYN that crosses its own would open a connection.
_REDIRECTED = re.compile(
    r"^tcp +6 +\d+ (?:ESTABLISHED|FIN_WAIT|CLOSE_WAIT) src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) .*?src=(?!\2 )",
    re.MULTILINE,
)
_TCP_HEADER = struct.Struct("!HHIIBBHHH")
_DATA_OFFSET = (_TCP_HEADER.size // 4) << 4
_SYN = 0x02
_HOPS = 64

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as its client sees it: (address, port) of both ends."""

    client: tuple[str, int]
    server: tuple[str, int]


def redirected(listing: str) -> tuple[Connection, ...]:
    """Read conntrack's list; return the open TCP connections in it that this host has led to another address."""
    return tuple(
        Connection((client, int(port)), (server, int(service)))
        for client, server, port, service in _REDIRECTED.findall(listing)
    )


def challenge(connections: Collection[Connection]) -> None:
    """Send each client a SYN in its server's name. Blocks while the kernel's send buffer is full."""
    for family in (socket.AF_INET, socket.AF_INET6):
        here = [each for each in connections if (":" in each.client[0]) == (family == socket.AF_INET6)]
        if not here:
            continue
        # IPPROTO_RAW: packets come with their IP header, so the sender may be any address.
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            # The rules keep it out of the kernel's table of connections: there it would begin one.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CHALLENGE_MARK)
            for each in here:
                try:
                    raw.sendto(syn(each), (each.client[0], 0))
                except OSError as error:
                    _log.debug("client %s is not told that its connection was cut: %s", each.client[0], error)


def syn(connection: Connection) -> bytes:
    """Write the whole packet, IP header included."""
    sender, receiver = (ip_address(address).packed for address, _ in (connection.server, connection.client))
    ports = (connection.server[1], connection.client[1])
    rest = (0, 0, _DATA_OFFSET, _SYN, 0)
    pseudo_header = sender + receiver + struct.pack("!II", _TCP_HEADER.size, socket.IPPROTO_TCP)
    checksum = _checksum(pseudo_header + _TCP_HEADER.pack(*ports, *rest, 0, 0))
    return _ip_header(sender, receiver) + _TCP_HEADER.pack(*ports, *rest, checksum, 0)


def _ip_header(sender: bytes, receiver: bytes) -> bytes:
    """Write the header of a TCP packet without data; of IPv4, the kernel fills in length, number and checksum."""
    if len(sender) == 4:
        return struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, _HOPS, socket.IPPROTO_TCP, 0) + sender + receiver
    return struct.pack("!IHBB", 6 << 28, _TCP_HEADER.size, socket.IPPROTO_TCP, _HOPS) + sender + receiver


def _checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF

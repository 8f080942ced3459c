"""Tell a program of this host that nobody has the UDP port at ::1 that it sent to, as the kernel itself would.

A datagram that a relay took has been delivered, as far as the kernel knows: it says nothing more of it. So the relay
says it: an ICMPv6 message "port unreachable" (RFC 4443, 3.1), which a connected socket's owner hears as ECONNREFUSED.
"""

from __future__ import annotations

import socket
import struct

_DESTINATION_UNREACHABLE, _PORT = 1, 4
# The kernel fills in the checksum.
_MESSAGE = struct.pack("!BBHI", _DESTINATION_UNREACHABLE, _PORT, 0, 0)
_UDP_HEADER = struct.Struct("!HHHH")
_LOOPBACK = socket.inet_pton(socket.AF_INET6, "::1")
_VERSION = 6 << 28
_HOPS = 64


def tell_unreachable(client: tuple[str, int], port: int) -> None:
    """Tell the socket at `client` (an address of this host's and a port) that nobody has [::1]:`port`.

    Raises:
        OSError: the kernel does not let us.

    """
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6) as raw:
        raw.sendto(_MESSAGE + _datagram(client, port), (client[0], 0))


def _datagram(client: tuple[str, int], port: int) -> bytes:
    """Write the headers of what was sent, by which the kernel finds the socket; its data it does not look at."""
    address, source = client
    header = struct.pack("!IHBB", _VERSION, _UDP_HEADER.size, socket.IPPROTO_UDP, _HOPS)
    ends = socket.inet_pton(socket.AF_INET6, address) + _LOOPBACK
    return header + ends + _UDP_HEADER.pack(source, port, _UDP_HEADER.size, 0)

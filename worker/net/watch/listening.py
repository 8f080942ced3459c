"""Which TCP ports a container's program listens on: the kernel's sock_diag(7), asked in the container's network."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from worker.host.netns import socket_in
from worker.net.watch.netlink_bytes import dump

SOCK_DIAG = 4
_BY_FAMILY = 20
# Family, protocol, extensions, states; what identifies a single socket stays empty.
_QUESTION = struct.Struct("=BBBxI48x")
_LISTEN = 1 << 10
# Family, state, timer, retransmissions; port; the other end's; address.
_SOCKET = struct.Struct("!BBBBH2x16s")
# 127.0.0.0/8; ::1, and the same in IPv6's words.
_LOCAL = {socket.AF_INET: (b"\x7f",), socket.AF_INET6: (bytes(15) + b"\x01", bytes(10) + b"\xff\xff\x7f")}


async def listening(pid: int) -> set[int]:
    """Return the TCP ports that are listened on in the network of a process, at other addresses than the loopback's.

    Raises:
        OSError: the process has ended, we may not look, or the kernel does not tell.

    """
    with await socket_in(pid, socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
        return ports(kernel)


def ports(kernel: socket.socket) -> set[int]:
    """Return what `listening` does, in the network that a socket for sock_diag(7) was made in.

    Raises:
        OSError: the kernel does not tell.

    """
    return {port for family in _LOCAL for port in _of_family(kernel, family)}


def _of_family(kernel: socket.socket, family: socket.AddressFamily) -> Iterator[int]:
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
    for found in dump(kernel, _BY_FAMILY, question):
        _, _, _, _, port, address = _SOCKET.unpack_from(found)
        if not address.startswith(_LOCAL[family]):
            yield port

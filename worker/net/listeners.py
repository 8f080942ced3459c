"""Which TCP ports the program in a container listens on: the kernel's sock_diag(7), asked in the container's network.

`/proc/PID/net/tcp` says the same, but walks all connections of the host for it, a hundred times as long. Numbers are
those of linux/inet_diag.h and linux/netlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from worker.net.netlinkevents import messages
from worker.netns import socket_in

SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
# Family, protocol, extensions, states; what identifies a single socket stays empty.
_QUESTION = struct.Struct("=BBBxI48x")
_LISTEN = 1 << 10
# Family, state, timer, retransmissions; port; the other end's; address.
_SOCKET = struct.Struct("!BBBBH2x16s")
# 127.0.0.0/8; ::1, and the same in IPv6's words.
_LOCAL = {socket.AF_INET: (b"\x7f",), socket.AF_INET6: (bytes(15) + b"\x01", bytes(10) + b"\xff\xff\x7f")}
_READ = 1 << 16


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
    return {port for family in _LOCAL for port in _dump(kernel, family)}


def _dump(kernel: socket.socket, family: socket.AddressFamily) -> Iterator[int]:
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
    kernel.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST | _DUMP, 0, 0) + question)
    while True:
        for message in messages(kernel.recv(_READ)):  # the kernel answers within the call that asks
            if message.kind == _DONE:
                return
            if message.kind == _ERROR:
                (code,) = struct.unpack_from("=i", message.body)
                raise OSError(-code, os.strerror(-code))
            _, _, _, _, port, address = _SOCKET.unpack_from(message.body)
            if not address.startswith(_LOCAL[family]):
                yield port

"""How full the kernel's table of connections is. A full one loses new ones, and only the kernel's log says so."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from worker.host.netns import socket_in
from worker.net.apply.netlink_read import dump
from worker.net.apply.sysctls import PROC

FULL, NOT_FULL = 0.9, 0.8
_COUNT, _MOST = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"

_log = logging.getLogger(__name__)


class Connections:
    """Warns from 90 % on, and until it is below 80 % again, so that a table about there is not news every second."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._most = 0

    def check(self) -> None:
        """Read the two numbers; a kernel that does not track connections has none."""
        try:
            count, most = (int((self._proc / path).read_text()) for path in (_COUNT, _MOST))
        except FileNotFoundError:
            count = most = 0
        if most and count > FULL * most and self._most != most:
            self._most = most
            _log.warning("%s", self.lacks()[0])
        elif self._most and count < NOT_FULL * most:
            self._most = 0
            _log.info("the kernel's table of connections has room again: %d of %d", count, most)
        elif not most:
            self._most = 0

    def lacks(self) -> tuple[str, ...]:
        """Say that it is nearly full, without the count: that would be news with every connection."""
        if not self._most:
            return ()
        setting = f"net.netfilter.nf_conntrack_max (now {self._most})"
        return (
            f"the kernel's table of connections is nearly full, new ones are lost when it is full: raise {setting}",
        )


# Which TCP ports the program in a container listens on: the kernel's sock_diag(7), asked in the container's network.
#
# `/proc/PID/net/tcp` says the same, but walks all connections of the host for it, a hundred times as long. Numbers
# are those of linux/inet_diag.h.


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

"""Published ports, kept from other programs of this host: each is bound, and nobody listens there.

The rules send what comes to a port to its backends before a socket is asked. A bound socket without a listener makes
the kernel refuse everything else at once (a port without backends before the rules are there). The IPv6 side of a port
is bound for the host's own ::1, and served there (worker.net.ports.loopback).
"""

from __future__ import annotations

import errno
import logging
import resource
import socket
from collections.abc import Collection

from worker.intake.addresses import Port, Protocol
from worker.net.dns.forward import DNS_PORT
from worker.net.plan.names import LOOPBACK6, LOOPBACK6_AS_IPV4
from worker.net.ports.loopback import LoopbackRelay

_log = logging.getLogger(__name__)

# Of one port.
_MOST_SOCKETS = 2
_KINDS = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}


class PortReservations:
    """The sockets. `held` are the wanted ports that another program has."""

    def __init__(self, relay: LoopbackRelay) -> None:
        self._relay = relay
        self._sockets: dict[Port, list[socket.socket]] = {}
        self._open = 0
        self._lacks = False
        self.held: frozenset[Port] = frozenset()

    def keep(self, wanted: Collection[Port]) -> None:
        """Have exactly these ports, as far as they can be had.

        Half of the files that the process may open are left to all else that the worker does.
        """
        for port in self._sockets.keys() - wanted:
            self._release(self._sockets.pop(port))
        held = set()
        missing = sorted(set(wanted) - self._sockets.keys(), key=str)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        for number, port in enumerate(missing):
            if files != resource.RLIM_INFINITY and self._open + _MOST_SOCKETS > files // 2:
                self._lack(len(missing) - number)
                break
            try:
                self._sockets[port] = _reserve(port)
                self._open += len(self._sockets[port])
                self._serve_loopback(port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    _log.debug("port %s is not reserved: %s", port, error)
                    self._release(self._sockets.pop(port, []))
                    self._sockets[port] = []
                    continue
                held.add(port)
                if port not in self.held:
                    _log.warning("another program has port %s: it is not published on this host", port)
        else:
            self._lacks = False
        for port in sorted(self.held & self._sockets.keys(), key=str):
            _log.info("port %s is free now and published on this host", port)
        self.held = frozenset(held)

    def close(self) -> None:
        self.keep(())

    def _serve_loopback(self, port: Port) -> None:
        _, number, address = port
        for bound in self._sockets[port]:
            if address in (None, LOOPBACK6) and bound.family == socket.AF_INET6:
                self._relay.serve(bound, (str(LOOPBACK6_AS_IPV4) if address else "127.0.0.1", number))

    def _lack(self, ports: int) -> None:
        if not self._lacks:
            _log.warning(
                "%d published ports are not kept from other programs of this host, or served at ::1: that takes too "
                "many of the files that this process may open: raise LimitNOFILE= of its unit",
                ports,
            )
        self._lacks = True

    def _release(self, sockets: list[socket.socket]) -> None:
        self._open -= len(sockets)
        for each in sockets:
            self._relay.forget(each)
        _close(sockets)


def _reserve(port: Port) -> list[socket.socket]:
    """Bind a port without listening. The protocols that the kernel gives no sockets for (sctp) need none.

    Raises:
        OSError: EADDRINUSE: another program has it; EADDRNOTAVAIL: the address is another host's.

    """
    protocol, number, address = port
    kind = _KINDS.get(protocol)
    if kind is None:
        return []
    if address is not None and address.version == 6:
        return [_bound(socket.AF_INET6, kind, (str(address), number))]
    at = "0.0.0.0" if address is None else str(address)  # noqa: S104 - bound, never listened on
    found = [_bound(socket.AF_INET, kind, (at, number))]
    if address is None and socket.has_ipv6:
        try:
            found.append(_bound(socket.AF_INET6, kind, ("::", number), link=b"lo"))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                _close(found)
                raise
    return found


def _bound(family: int, kind: int, address: tuple[str, int], link: bytes = b"") -> socket.socket:
    """Bind an address, for what comes in by one link alone if so told: others cannot bind it for all links then."""
    bound = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if link:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link)
        if address[1] == DNS_PORT:
            # The containers' name server has this port on addresses of its own.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()

"""Published ports at the host's own ::1, which no rule can send to a container.

Of 127.0.0.1 the kernel lets the answer come back from a bridge if it is told to (`route_localnet`); of ::1 it does not.
So what a program of this host sends to [::1]:PORT is carried to 127.0.0.1:PORT, from where the rules take it on. Either
way the container sees this host's gateway as the sender. Nothing else comes this way: the sockets hear on `lo` alone.
UDP has no connections, so each client (its address and port) gets a socket of its own to 127.0.0.1:PORT: so its
datagrams keep their backend, and the answers find back to it; that nobody is there, too. That ends when nothing was
carried for as long as the kernel itself remembers an exchange of datagrams.

A datagram that a relay took has been delivered, as far as the kernel knows: it says nothing more of it. So the relay
says that nobody has the port: an ICMPv6 message "port unreachable" (RFC 4443, 3.1), which a connected socket's owner
hears as ECONNREFUSED.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from common.aio.steady import contain_errors
from worker.net.ports.accepting import Acceptor

# More connections at the same time are refused.
MOST_CONNECTIONS = 1000
_CHUNK = 1 << 16
_BACKLOG = 128
_RESET_AT_CLOSE = b"\1\0\0\0\0\0\0\0"

# With more clients at the same time, the one that was silent for longest makes room.
MOST_CLIENTS = 1000
# nf_conntrack_udp_timeout_stream, as the kernel has it.
SILENT_SECONDS = 120.0
LOOK_SECONDS = 10.0
_LARGEST = 1 << 16
_LOOPBACK = socket.inet_pton(socket.AF_INET6, "::1")
# Answers come from the address that was asked, which may not be the one that the kernel would choose: in6_pktinfo.
_FROM_LOOPBACK = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", _LOOPBACK, 0))]
# An IPv4 address and port of this host.
Target: TypeAlias = tuple[str, int]
_Client: TypeAlias = tuple[socket.socket, tuple[str, int, int, int]]
_log = logging.getLogger(__name__)
_DESTINATION_UNREACHABLE, _PORT = 1, 4
# The kernel fills in the checksum.
_MESSAGE = struct.pack("!BBHI", _DESTINATION_UNREACHABLE, _PORT, 0, 0)
_UDP_HEADER = struct.Struct("!HHHH")
_LOOPBACK6 = socket.inet_pton(socket.AF_INET6, "::1")
_VERSION = 6 << 28
_HOPS = 64


class LoopbackRelay:
    """Carries connections and datagrams while `run` runs, from the sockets that it was given."""

    def __init__(self) -> None:
        self._targets: dict[socket.socket, Target] = {}
        self._acceptors: dict[socket.socket, Acceptor] = {}
        self._datagrams = DatagramRelay()
        self._group: asyncio.TaskGroup | None = None
        self._open = 0

    async def run(self) -> None:
        """Carry until cancelled; then all connections end."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for bound in self._targets:
                    self._listen(bound)
                await self._datagrams.run()
        finally:
            self._group = None
            for bound in self._targets:
                self._stop(bound)

    def serve(self, bound: socket.socket, target: Target) -> None:
        """Carry what comes to a bound socket to another one of this host, until `forget`."""
        self._targets[bound] = target
        if self._group is not None:
            self._listen(bound)

    def forget(self, bound: socket.socket) -> None:
        """Accept no more of a socket, before it is closed. What was accepted goes on. Repeatable."""
        if self._targets.pop(bound, None) is not None and self._group is not None:
            self._stop(bound)
            self._datagrams.forget(bound)

    def _listen(self, bound: socket.socket) -> None:
        bound.setblocking(False)
        if bound.type == socket.SOCK_DGRAM:
            asyncio.get_running_loop().add_reader(bound, self._datagrams.take, bound, self._targets[bound])
            return
        bound.listen(_BACKLOG)
        target = self._targets[bound]
        self._acceptors[bound] = Acceptor(bound, partial(self._take, target), f"[::1]:{target[1]}")

    def _stop(self, bound: socket.socket) -> None:
        if acceptor := self._acceptors.pop(bound, None):
            acceptor.end()
        else:
            asyncio.get_running_loop().remove_reader(bound)

    def _take(self, target: Target, connection: socket.socket, _: object) -> None:
        if self._group is None or self._open >= MOST_CONNECTIONS:
            _reset(connection)
            return
        connection.setblocking(False)
        self._open += 1
        carrying = contain_errors(self._carry(connection, target), f"a connection to [::1]:{target[1]}")
        self._group.create_task(carrying).add_done_callback(self._done)

    def _done(self, _: asyncio.Task[None]) -> None:
        self._open -= 1

    async def _carry(self, connection: socket.socket, target: Target) -> None:
        try:
            there = await asyncio.open_connection(*target)
        except OSError:
            _reset(connection)  # what it would have heard over IPv4: nobody is there
            return
        here = await asyncio.open_connection(sock=connection)
        writers = (here[1], there[1])
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(here[0], there[1]))
                both.create_task(_pump(there[0], here[1]))
        except* OSError:
            for writer in writers:
                if not writer.is_closing():  # one side was reset, so the other is: `abort` alone only closes
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                    writer.transport.abort()
        finally:
            for writer in writers:
                writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Carry one direction to its end, and tell that it ends; the other may go on."""
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    target.write_eof()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    connection.close()


@dataclass(slots=True)
class _Way:
    """A client's socket to the port, and when it last carried something (the event loop's seconds)."""

    there: socket.socket
    used: float


class DatagramRelay:
    """Carries datagrams while `run` runs: those of the sockets for which `take` is called, and their answers."""

    def __init__(self) -> None:
        self._ways: OrderedDict[_Client, _Way] = OrderedDict()  # the one that is silent for longest comes first

    async def run(self) -> None:
        """Forget silent clients until cancelled; then all of them."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                since = loop.time() - SILENT_SECONDS
                for client in [each for each, way in self._ways.items() if way.used < since]:
                    self._end(client)
        finally:
            for client in [*self._ways]:
                self._end(client)

    def take(self, bound: socket.socket, target: Target) -> None:
        """Carry the datagram that waits at a bound socket."""
        try:
            data, address = bound.recvfrom(_LARGEST)
        except OSError as error:
            _log.debug("cannot read what came to [::1]:%d: %s", target[1], error)
            return
        client = (bound, address)
        try:
            self._way(client, target).send(data)
        except ConnectionRefusedError:
            _refuse(client)
        except OSError as error:
            # It does not fit, say: it is lost, as datagrams may be.
            _log.debug("a datagram to [::1]:%d is lost: %s", target[1], error)

    def forget(self, bound: socket.socket) -> None:
        """Forget the clients of a socket, before it is closed. Repeatable."""
        for client in [each for each in self._ways if each[0] is bound]:
            self._end(client)

    def _way(self, client: _Client, target: Target) -> socket.socket:
        """Return a client's socket, made now if it has none."""
        loop = asyncio.get_running_loop()
        way = self._ways.get(client)
        if way is None:
            if len(self._ways) >= MOST_CLIENTS:
                self._end(next(iter(self._ways)))
            way = self._ways[client] = _Way(_connect(target), loop.time())
            loop.add_reader(way.there, self._answer, client)
        self._used(client)
        return way.there

    def _used(self, client: _Client) -> None:
        self._ways[client].used = asyncio.get_running_loop().time()
        self._ways.move_to_end(client)

    def _answer(self, client: _Client) -> None:
        """Carry one answer back."""
        bound, address = client
        self._used(client)
        try:
            bound.sendmsg([self._ways[client].there.recv(_LARGEST)], _FROM_LOOPBACK, 0, address)
        except ConnectionRefusedError:
            _refuse(client)
        except OSError as error:
            _log.debug("no answer for [%s]:%d: %s", address[0], address[1], error)

    def _end(self, client: _Client) -> None:
        there = self._ways.pop(client).there
        asyncio.get_running_loop().remove_reader(there)
        there.close()


def _refuse(client: _Client) -> None:
    """Pass on that nobody is there: the port has no backends, or they do not listen."""
    bound, address = client
    try:
        tell_unreachable(address[:2], bound.getsockname()[1])
    except OSError as error:
        _log.debug("[%s]:%d is not told that nothing listens there: %s", address[0], address[1], error)


def _connect(target: Target) -> socket.socket:
    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        there.connect(target)
    except OSError:
        there.close()
        raise
    return there


# --- port unreachable ---


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
    ends = socket.inet_pton(socket.AF_INET6, address) + _LOOPBACK6
    return header + ends + _UDP_HEADER.pack(source, port, _UDP_HEADER.size, 0)

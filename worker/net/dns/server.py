"""The sockets of the containers' name server: UDP and TCP on each of the host's addresses in the cluster's networks.

An answer from the zones is given within the readiness callback: no task, no wait. Only what is forwarded, and TCP,
take a task each, in bounded numbers.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from common.aio.steady import contain_errors
from worker.net.dns.forward import DNS_PORT, Forwarder, receive_message, send_framed
from worker.net.ports.accepting import Acceptor
from worker.net.resolve import answers, messages
from worker.net.resolve.answers import Forward
from worker.net.resolve.messages import Query
from worker.net.resolve.zones import Zones

# Forwarded questions and TCP connections at the same time; the second for one container, so that it starves no other.
MOST_JOBS = 1000
MOST_JOBS_OF_ONE = 100
# TCP clients that say nothing for so long are not waited for.
IDLE_SECONDS = 10.0
_AT_ONCE = 64
_LARGEST_QUERY = 4096
_BACKLOG = 128
# Lets an address be bound before its bridge is there (ip(7)); Python 3.11 has no name for it.
_IP_FREEBIND = 15

_log = logging.getLogger(__name__)


class DnsServer:
    """Answers while `run` runs, at the addresses and from the zones of the last `update`."""

    def __init__(self, forwarder: Forwarder, rng: random.Random, port: int = DNS_PORT) -> None:
        self._forwarder = forwarder
        self._rng = rng
        self._port = port
        self._zones = Zones()
        self._sockets: dict[str, tuple[socket.socket, socket.socket]] = {}
        self._acceptors: dict[str, Acceptor] = {}
        self._refused: dict[str, OSError] = {}
        self._jobs = Counter[str]()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.listen()
                await asyncio.Event().wait()
        finally:
            self._group = None
            for address in list(self._sockets):
                self._close(address)

    def update(self, zones: Zones) -> None:
        """Answer from these zones from now on."""
        self._zones = zones
        if zones.listen != self._sockets.keys():
            self.listen()

    def listens_at(self, address: str) -> bool:
        return address in self._sockets

    def refusal(self) -> OSError | None:
        """Return why the server does not listen everywhere, if so."""
        return next(iter(self._refused.values()), None)

    def listen(self) -> None:
        """Bind the wanted addresses that are not bound yet, as far as possible, and close those not wanted any more."""
        if self._group is None:
            return
        for address in self._sockets.keys() - self._zones.listen:
            self._close(address)
        refused = {}
        for address in sorted(self._zones.listen - self._sockets.keys()):
            try:
                self._open(address)
            except OSError as error:
                refused[address] = error
                if address not in self._refused:
                    _log.warning("cannot answer DNS at %s port %d: %s", address, self._port, error.strerror)
        self._refused = refused

    # --- sockets ------------------------------------------------------------------------------------------------------

    def _open(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        datagrams = _bound(socket.SOCK_DGRAM, (address, self._port))
        try:
            connections = _bound(socket.SOCK_STREAM, (address, datagrams.getsockname()[1]))
        except OSError:
            datagrams.close()
            raise
        connections.listen(_BACKLOG)
        loop.add_reader(datagrams, self._read, datagrams)
        self._acceptors[address] = Acceptor(connections, self._take, f"the name server at {address}")
        self._sockets[address] = (datagrams, connections)

    def _close(self, address: str) -> None:
        datagrams, connections = self._sockets.pop(address)
        asyncio.get_running_loop().remove_reader(datagrams)
        self._acceptors.pop(address).end()
        datagrams.close()
        connections.close()

    def _read(self, datagrams: socket.socket) -> None:
        """Answer the queries that have come, a few at a time, so that the rest of the worker has its turn."""
        for _ in range(_AT_ONCE):
            try:
                packet, sender = datagrams.recvfrom(_LARGEST_QUERY)
            except OSError:
                return  # nothing more has come, or an answer of ours could not be delivered
            query = messages.parse(packet)
            if query is None:
                continue
            answer = answers.reply(query, self._zones, sender[0], query.datagram_size, self._rng)
            if isinstance(answer, Forward):
                work = self._forward(datagrams, query, packet, sender, answer)
                self._start(sender[0], work, partial(_send, datagrams, _failure(query), sender))
            else:
                _send(datagrams, answer, sender)

    def _take(self, connection: socket.socket, sender: tuple[str, int]) -> None:
        source, _ = sender
        connection.setblocking(False)
        self._start(source, self._converse(connection, source), connection.close)

    # --- tasks --------------------------------------------------------------------------------------------------------

    def _start(self, source: str, work: Coroutine[Any, Any, None], otherwise: Callable[[], None]) -> None:
        """Run `work` in a task, unless this container, or all of them, have too many; then call `otherwise`."""
        if self._group is None or self._jobs.total() >= MOST_JOBS or self._jobs[source] >= MOST_JOBS_OF_ONE:
            work.close()
            otherwise()
            return
        self._jobs[source] += 1
        self._group.create_task(contain_errors(work, f"answering {source}")).add_done_callback(
            lambda _: self._done(source)
        )

    def _done(self, source: str) -> None:
        self._jobs[source] -= 1
        if not self._jobs[source]:
            del self._jobs[source]

    async def _forward(
        self, datagrams: socket.socket, query: Query, packet: bytes, sender: tuple[str, int], to: Forward
    ) -> None:
        answer = await self._forwarder.ask(query, packet, to.nameservers, stream=False)
        _send(datagrams, answer or _failure(query), sender)

    async def _converse(self, connection: socket.socket, source: str) -> None:
        """Answer one question after the other, until the client ends it or says nothing more."""
        with connection, suppress(EOFError, OSError, TimeoutError):
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    packet = await receive_message(connection)
                query = messages.parse(packet)
                if query is None:
                    return
                answer = answers.reply(query, self._zones, source, messages.LARGEST_MESSAGE, self._rng)
                if isinstance(answer, Forward):
                    found = await self._forwarder.ask(query, packet, answer.nameservers, stream=True)
                    answer = found or _failure(query)
                async with asyncio.timeout(IDLE_SECONDS):
                    await send_framed(connection, answer)
                await asyncio.sleep(0)  # neither waits for a client that asks as fast as it is answered


def explain(refusal: OSError) -> str:
    """Say in a sentence what the host lacks where the server cannot listen."""
    if refusal.errno in (errno.EACCES, errno.EPERM):
        why = "the worker may not bind port 53 (capability NET_BIND_SERVICE)"
    elif refusal.errno == errno.EADDRINUSE:
        why = "another program has port 53 on all of the host's addresses"
    else:
        why = f"port 53 cannot be bound ({refusal.strerror})"
    return f"{why}: containers have Docker's own name server, which knows the names of this host only"


def _bound(kind: socket.SocketKind, address: tuple[str, int]) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Where 53 is a published port, `worker.net.ports.reservations` has it on all addresses.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _send(datagrams: socket.socket, answer: bytes, receiver: tuple[str, int]) -> None:
    # A full buffer or a receiver that is gone: as with any lost datagram, the client asks again.
    with suppress(OSError):
        datagrams.sendto(answer, receiver)


def _failure(query: Query) -> bytes:
    return messages.empty_message(query, messages.SERVFAIL, own=False)

"""Published ports at the host's own ::1, which no rule can send to a container.

Of 127.0.0.1 the kernel lets the answer come back from a bridge if it is told to (`route_localnet`); of ::1 it does not.
So what a program of this host sends to [::1]:PORT is carried to 127.0.0.1:PORT, from where the rules take it on. Either
way the container sees this host's gateway as the sender. Nothing else comes this way: the sockets hear on `lo` alone.
Here is TCP; UDP has `worker.net.ports.loopback_udp`.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from common.aio.steady import contain_errors
from worker.net.ports.accepting import Acceptor
from worker.net.ports.loopback_udp import DatagramRelay, Target

# More connections at the same time are refused.
MOST_CONNECTIONS = 1000
_CHUNK = 1 << 16
_BACKLOG = 128
_RESET_AT_CLOSE = b"\1\0\0\0\0\0\0\0"


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

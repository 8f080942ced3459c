"""Dialling and serving channels over TLS."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from common.errors import SwarmError, Unauthenticated, Unavailable
from common.tls import MANAGER_NAME
from common.wire.admission import Admission
from common.wire.channel import Channel
from common.wire.messages import MAX_FRAME_BYTES
from common.wire.stream import StreamChannel

HANDSHAKE_TIMEOUT = 10.0
_BACKLOG = 1024
# After an accept that failed for want of descriptors or memory; as asyncio's own servers wait.
_PAUSE_SECONDS = 1.0
SHUTDOWN_TIMEOUT = 1.0
# What a stranger may say before it is known: a join request is about 1 KiB.
FIRST_FRAME_BYTES = 64 * 1024

Handler = Callable[[Channel], Awaitable[None]]

_log = logging.getLogger(__name__)


class Server:
    """A listener; each connection is a task of its own that runs the handler and then ends the connection.

    The handler's errors end its own connection and nothing else: a `SwarmError` with one line in the log, anything else
    with its traceback. `admission` says which connections may begin.
    """

    def __init__(self, handler: Handler, admission: Admission) -> None:
        self._handler = handler
        self._admission = admission
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many connections there are, those whose handshake is under way included."""
        return len(self._tasks)

    @property
    def port(self) -> int:
        """The port that it listens on, for when 0 was asked for."""
        assert self._listener is not None
        return int(self._listener.getsockname()[1])

    def listen(self, host: str | None, port: int, context: ssl.SSLContext) -> None:
        """Begin to accept connections; `host` None is every address.

        Raises:
            Unavailable: the address cannot be had.

        """
        self._listener = _bind(host, port)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(self._listener, context))

    async def close(self) -> None:
        """Stop listening, end all connections and wait for their handlers."""
        tasks = [*self._tasks, *([self._accepting] if self._accepting is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _accept(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listener)
            except OSError as error:
                _log.error("cannot accept a connection: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if self._admission.lets_in(str(peer[0]), loop.time()):
                work = self._welcome(connection, str(peer[0]), context)
                task = loop.create_task(work, name=f"connection of {peer[0]}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                connection.close()
            # `sock_accept` does not wait for what is there; and who was let in counts only once it has begun.
            await asyncio.sleep(0)

    async def _welcome(self, connection: socket.socket, address: str, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        channel = StreamChannel(lambda _: None, FIRST_FRAME_BYTES)
        begun = False
        try:
            async with self._admission.handshake(address):
                begun = True
                await loop.connect_accepted_socket(
                    lambda: channel,
                    connection,
                    ssl=context,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                    ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
                )
        except OSError as error:
            _log.debug("the handshake of a connection from %s failed: %s", address, error)
            self._admission.note_failed(address, loop.time())
            return
        finally:
            if not begun:  # else it is the loop's
                connection.close()
        await self._run(channel)

    async def _run(self, channel: StreamChannel) -> None:
        try:
            await self._handler(channel)
        except SwarmError as error:
            _log.info("connection of %s ended: %s", channel.peer, error.message)
        except Exception:  # noqa: BLE001 - a bug in one connection's handling must not touch the others
            _log.exception("unexpected error in the connection of %s; only this connection is ended", channel.peer)
        finally:
            await channel.close()


async def serve(
    host: str | None, port: int, context: ssl.SSLContext, handler: Handler, admission: Admission | None = None
) -> Server:
    """Listen for channels; close the returned server to end it.

    Raises:
        Unavailable: the address cannot be had.

    """
    server = Server(handler, admission or Admission())
    server.listen(host, port, context)
    return server


def _bind(host: str | None, port: int) -> socket.socket:
    """Make a socket that listens on an address, or on all that this host has.

    Raises:
        Unavailable: the address cannot be had.

    """
    try:
        return _listening(host, port)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host or '*'}:{port}: {error.strerror or error}") from error


def check_free(host: str | None, port: int) -> None:
    """Check that a server could listen on an address, or on all that this host has.

    Raises:
        Unavailable: the address cannot be had.

    """
    _bind(host, port).close()


def _listening(host: str | None, port: int) -> socket.socket:
    if host is not None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    else:
        try:
            listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            listener = socket.create_server(("", port), backlog=_BACKLOG)  # a host without IPv6
    listener.setblocking(False)
    return listener


async def dial(
    host: str,
    port: int,
    context: ssl.SSLContext,
    *,
    limit: int = MAX_FRAME_BYTES,
    wait: float = HANDSHAKE_TIMEOUT,
    server_name: str = MANAGER_NAME,
) -> StreamChannel:
    """Connect to a manager, or to the worker of `tls.peer_name`.

    Raises:
        Unavailable: nobody answers there within `wait` seconds, or nobody can.
        Unauthenticated: whoever answers is not that of our cluster.

    """
    speaker = "a manager" if server_name == MANAGER_NAME else server_name
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[StreamChannel] = loop.create_future()
    try:
        async with asyncio.timeout(wait):
            await loop.create_connection(
                lambda: StreamChannel(opened.set_result, limit),
                host,
                port,
                ssl=context,
                server_hostname=server_name,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
            )
    except ssl.SSLCertVerificationError as error:
        raise Unauthenticated(
            f"{host}:{port} is not {speaker} of this cluster ({error.verify_message}); "
            "check the address, and that the clocks of both hosts are right"
        ) from error
    except TimeoutError as error:
        raise Unavailable(f"no answer from {host}:{port} within {wait:g} s: check the address and firewalls") from error
    except UnicodeError as error:  # what the resolver's encoding of names refuses
        raise Unavailable(f"cannot reach {speaker}: {host!r} is not a known host name: check the address") from error
    except OSError as error:
        raise Unavailable(f"cannot reach {speaker} at {host}:{port}: {_reason(error)}") from error
    return await opened


def _reason(error: OSError) -> str:
    """Return the system's words for an error: asyncio puts its call and its arguments in their place."""
    if error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)

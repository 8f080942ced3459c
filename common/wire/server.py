"""Dialling and serving channels over TLS."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from common.errors import SwarmError, Unauthenticated, Unavailable
from common.tls import MANAGER_NAME
from common.wire.channel import Channel
from common.wire.messages import MAX_FRAME_BYTES
from common.wire.stream import StreamChannel

HANDSHAKE_TIMEOUT = 10.0
SHUTDOWN_TIMEOUT = 1.0
# What a stranger may say before it is known: a join request is about 1 KiB.
FIRST_FRAME_BYTES = 64 * 1024

Handler = Callable[[Channel], Awaitable[None]]

_log = logging.getLogger(__name__)


class Server:
    """A listener; each connection is a task of its own that runs the handler and then ends the connection.

    The handler's errors end its own connection and nothing else: a `SwarmError` with one line in the log, anything else
    with its traceback.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._closed = False

    @property
    def connections(self) -> int:
        """How many connections are being handled."""
        return len(self._tasks)

    @property
    def port(self) -> int:
        """The port that it listens on, for when 0 was asked for."""
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    async def listen(self, host: str | None, port: int, context: ssl.SSLContext) -> None:
        """Begin to accept connections; `host` None is every address.

        Raises:
            Unavailable: the address cannot be had.

        """
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                lambda: StreamChannel(self._start, FIRST_FRAME_BYTES),
                host,
                port,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
                backlog=1024,
            )
        except OSError as error:
            raise Unavailable(f"cannot listen on {host or '*'}:{port}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Stop listening, end all connections and wait for their handlers."""
        self._closed = True
        if self._listener is not None:
            self._listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _start(self, channel: StreamChannel) -> None:
        if self._closed:  # its handshake was under way when this was closed
            channel.abort()
            return
        task = asyncio.get_running_loop().create_task(self._run(channel), name=f"connection {channel.peer}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, channel: StreamChannel) -> None:
        try:
            await self._handler(channel)
        except SwarmError as error:
            _log.info("connection of %s ended: %s", channel.peer, error.message)
        except Exception:  # noqa: BLE001 - a bug in one connection's handling must not touch the others
            _log.exception("unexpected error in the connection of %s; only this connection is ended", channel.peer)
        finally:
            await channel.close()


async def serve(host: str | None, port: int, context: ssl.SSLContext, handler: Handler) -> Server:
    """Listen for channels; close the returned server to end it.

    Raises:
        Unavailable: the address cannot be had.

    """
    server = Server(handler)
    await server.listen(host, port, context)
    return server


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
    who = "a manager" if server_name == MANAGER_NAME else server_name
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
            f"{host}:{port} is not {who} of this cluster ({error.verify_message}); "
            "check the address, and that the clocks of both hosts are right"
        ) from error
    except TimeoutError as error:
        raise Unavailable(f"no answer from {host}:{port} within {wait:g} s: check the address and firewalls") from error
    except UnicodeError as error:  # what the resolver's encoding of names refuses
        raise Unavailable(f"cannot reach {who}: {host!r} is no host's name: check the address") from error
    except OSError as error:
        raise Unavailable(f"cannot reach {who} at {host}:{port}: {error.strerror or error}") from error
    return await opened

"""Streams to workers: requested over the session, dialled by the worker, identified by a secret id.

HTTP to a node's engine goes over them: an aiohttp connector opens one for each of its connections.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler

from common.errors import PermissionDenied, Unavailable
from common.ids import new_id
from common.wire.channel import Channel
from common.wire.messages import OpenStream, StreamHello

T = TypeVar("T")

STREAM_TIMEOUT = 10.0
MAX_PENDING = 1_000

# aiohttp gives these to `_create_connection`; they have no public names.
_Request = Any
_Traces = Any


@dataclass(frozen=True, slots=True)
class _Pending:
    """A requested stream: its node, its channel when it arrives, and whether it is no longer waited for (`over`)."""

    node_id: str
    channel: asyncio.Future[Channel]
    over: asyncio.Event


class Streams:
    """The streams that were requested and have not arrived yet."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._pending: dict[str, _Pending] = {}

    async def open(
        self,
        node_id: str,
        target: str,
        send: Callable[[OpenStream], Awaitable[None]],
        take: Callable[[Channel], T],
    ) -> T:
        """Ask a node for a stream by `send`; when it comes, `take` detaches its channel, and its result is returned.

        Raises:
            Unavailable: the worker says why not, or nothing came in time.

        """
        if len(self._pending) >= MAX_PENDING:
            raise Unavailable("too many streams to workers are being opened: try again")
        stream_id = new_id(self._rng)
        pending = _Pending(node_id, asyncio.get_running_loop().create_future(), asyncio.Event())
        self._pending[stream_id] = pending
        try:
            async with asyncio.timeout(STREAM_TIMEOUT):
                await send(OpenStream(stream_id=stream_id, target=target))
                return take(await pending.channel)
        except TimeoutError as error:
            raise Unavailable(
                f"node {node_id} did not open a stream to its {target} in {STREAM_TIMEOUT:g} s"
            ) from error
        finally:
            del self._pending[stream_id]
            pending.over.set()

    async def arrived(self, channel: Channel, hello: StreamHello, expected: Callable[[], None]) -> None:
        """Pass a worker's stream to its requester; return when the requester has taken it or no longer waits.

        `expected` is called if it was requested.

        Raises:
            PermissionDenied: it was not requested from this node, or is no longer waited for.

        """
        identity = channel.peer.identity
        pending = self._pending.get(hello.stream_id)
        if identity is None or pending is None or pending.node_id != identity.node_id or pending.channel.done():
            raise PermissionDenied(f"{channel.peer} opened a stream that was not requested")
        expected()
        if hello.error:
            pending.channel.set_exception(Unavailable(f"node {pending.node_id}: {hello.error}"))
            return
        pending.channel.set_result(channel)
        await pending.over.wait()


class EngineConnector(aiohttp.BaseConnector):
    """For `aiohttp.ClientSession(connector=…)`; host and port of the URLs mean nothing.

    Requests raise `Unavailable` when the node cannot be reached. `open_stream` opens a stream to the node's engine and
    has its channel taken by what it is given.
    """

    def __init__(self, open_stream: Callable[[Callable[[Channel], Any]], Awaitable[Any]], *, limit: int = 100) -> None:
        super().__init__(limit=limit)
        self._open_stream = open_stream

    async def _create_connection(
        self,
        req: _Request,
        traces: _Traces,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> ResponseHandler:
        del req, traces
        protocol = ResponseHandler(loop=asyncio.get_running_loop())
        async with asyncio.timeout(timeout.sock_connect):
            await self._open_stream(lambda channel: channel.detach(protocol))
        return protocol

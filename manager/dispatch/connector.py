"""HTTP to a node's engine, through the cluster: an aiohttp connector whose connections are streams to that worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from common.wire.channel import Channel

# aiohttp gives these to `_create_connection`; they have no public names.
_Request = Any
_Traces = Any


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

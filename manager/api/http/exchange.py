"""The client's end of a relayed request, over aiohttp: bodies piece by piece, and connections that are taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from common.errors import InvalidArgument, Unavailable

CHUNK = 64 * 1024


class HttpExchange:
    """An `Exchange` (manager.api.call) with the client of an HTTP request. `headers` go with every answer."""

    def __init__(self, request: web.BaseRequest, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._response: web.StreamResponse | None = None

    @property
    def started(self) -> bool:
        """Whether the client has seen the head of an answer."""
        return self._response is not None

    @property
    def response(self) -> web.StreamResponse:
        """What the server is to finish: the answer that was started."""
        assert self._response is not None, "a relay must answer"
        return self._response

    @property
    def has_body(self) -> bool:
        return self._request.can_read_body

    async def body(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._request.content.iter_any():
                yield data
        except web.RequestPayloadError as error:
            raise InvalidArgument(f"the body cannot be read: {error}") from None

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self._response = web.StreamResponse(status=status, headers={**headers, **self._headers})
        await self._response.prepare(self._request)

    async def send(self, data: bytes) -> None:
        await self.response.write(data)

    async def take_over(self, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        protocol, transport = self._request.protocol, self._request.transport
        if transport is None or transport.is_closing():
            raise Unavailable("the client is gone")
        reader = asyncio.StreamReader(limit=CHUNK)
        rest = _Rest()
        protocol.set_parser(rest)  # type: ignore[arg-type]  # what aiohttp asks of a parser is `feed_data`
        taken = _TakenConnection(reader, protocol)
        transport.set_protocol(taken)
        taken.connection_made(transport)
        self._response = _TakenResponse()
        if rest.data:
            reader.feed_data(bytes(rest.data))
        if not transport.is_reading():
            transport.resume_reading()
        writer = asyncio.StreamWriter(transport, taken, reader, asyncio.get_running_loop())
        writer.write(head)
        # The event loop writes at the end of a turn: what comes next must not share the head's packet.
        await asyncio.sleep(0)
        await writer.drain()
        return reader, writer


class _Rest:
    """Takes the bytes that came after the request and before its connection was taken over."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing is to be said: the reader hears of the end by itself."""


class _TakenConnection(asyncio.StreamReaderProtocol):
    """The protocol of a taken connection; the server's own hears of the loss, and cancels the handler."""

    def __init__(self, reader: asyncio.StreamReader, server: Any) -> None:
        super().__init__(reader)
        self._server = server

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server.connection_lost(exc)


class _TakenResponse(web.StreamResponse):
    """What aiohttp gets to finish when there is nothing left to send."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        del request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        del data

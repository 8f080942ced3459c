"""A connection to the manager's API: HTTP/1.1, one request and its whole answer after the other.

What most commands ask goes over it. aiohttp, which carries streams and uploads, takes longer to load than they run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from manager.cli.endpoint import Endpoint
from manager.cli.failures import BROKE_OFF, NOT_HTTP, cannot_connect

_CONNECT_SECONDS = 10.0
_CHUNK = 64 * 1024


async def connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to where the manager is.

    Raises:
        CannotConnect: nothing there takes connections.

    """
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            if endpoint.socket:
                return await asyncio.open_unix_connection(endpoint.socket, limit=_CHUNK)
            parts = urlsplit(endpoint.base)
            context = endpoint.tls() if parts.scheme == "https" else None
            # Of a name with several addresses the next is tried soon, as RFC 8305 recommends.
            return await asyncio.open_connection(
                parts.hostname, parts.port, ssl=context, limit=_CHUNK, happy_eyeballs_delay=0.25
            )
    except TimeoutError as error:
        raise cannot_connect(endpoint.url, TimeoutError("it does not answer in time")) from error
    except OSError as error:
        raise cannot_connect(endpoint.url, error) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; the names of its headers are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    text: str


class Connection:
    """A connection on which one request at a time is made."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host
        self.is_reusable = True

    @classmethod
    async def to(cls, endpoint: Endpoint) -> Self:
        """Connect; raises what `connect` raises."""
        return cls(*await connect(endpoint), urlsplit(endpoint.base).netloc)

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Send a request, of which `target` is path and query as they are sent, and wait for its answer.

        Raises:
            OSError: the connection ended before, or what came is not HTTP.

        """
        self.is_reusable = False
        # Not waited for: who refuses a body need not read it, and the answer says why.
        self._writer.write(_head(method, target, {"Host": self._host, **headers}, body) + (body or b""))
        answer = _AnswerParser(has_body=method != "HEAD")
        while not answer.is_complete:
            data = await self._reader.read(_CHUNK)
            if not data:
                raise ConnectionError(BROKE_OFF)
            answer.feed(data)
        self.is_reusable = answer.keeps_alive and not self._writer.transport.get_write_buffer_size()
        return answer.get()

    def close(self) -> None:
        self._writer.transport.abort()  # what is in flight no longer matters


def _head(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    length = {} if body is None and method in ("GET", "HEAD") else {"Content-Length": str(len(body or b""))}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in {**headers, **length}.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"a line of a request has a line end in it: {lines}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class _AnswerParser:
    """Collects one answer from httptools' parser, whose callbacks the `on_…` are."""

    def __init__(self, *, has_body: bool) -> None:
        self._parser = HttpResponseParser(self)
        self._has_body = has_body
        self.is_complete = False
        self.keeps_alive = False
        self.on_message_begin()

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not self.is_complete:
                raise ConnectionError(NOT_HTTP) from error

    def get(self) -> Answer:
        text = b"".join(self._pieces).decode(errors="replace")
        return Answer(self._parser.get_status_code(), self._reason, self._headers, text)

    def on_message_begin(self) -> None:
        self._reason = ""
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []

    def on_status(self, reason: bytes) -> None:
        self._reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.is_complete = not self._has_body and self._is_final()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._is_final():
            self.is_complete = True
            self.keeps_alive = self._has_body and self._parser.should_keep_alive()

    def _is_final(self) -> bool:
        """Whether this is the answer, and not one on the way to it (100 Continue)."""
        return self._parser.get_status_code() >= 200

"""Connections with limits: how many there may be, and how long one may take to say what it wants."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web_protocol import RequestHandler

_LOG = logging.getLogger(__name__)

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: 66\r\n\r\n"
    b'{"message":"too many connections to this manager: try again soon"}'
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    connections: int = 1024
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    body_bytes: int = 4 * 1024 * 1024
    line_bytes: int = 16 * 1024
    header_bytes: int = 64 * 1024
    headers: int = 64
    idle_seconds: float = 75.0
    write_seconds: float = 60.0


class Connection(RequestHandler):
    """One client's connection; it is closed when the head of a request does not arrive in time."""

    __slots__ = ("_deadline", "_limits", "_refused", "_server")

    def __init__(self, server: LimitedServer, limits: Limits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to switch it off
            keepalive_timeout=limits.idle_seconds,
            max_line_size=limits.line_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.headers,
            lingering_time=1.0,
        )
        self._limits = limits
        self._server = server
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what aiohttp found wrong; that a client sent no HTTP is its own business."""
        if isinstance(kwargs.get("exc_info"), BadHttpMessage):
            _LOG.debug("%s", kwargs["exc_info"])
        else:
            super().log_exception(*args, **kwargs)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._refused = len(self._server.connections) > self._limits.connections
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._refuse()
            return
        if self._current_request is None and self._deadline is None:
            self._expect_head()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.head_complete()
        super().connection_lost(exc)

    def head_complete(self) -> None:
        """Stop the clock: the request is being handled."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self) -> None:
        """Say that there are too many, once the client has spoken: closed before, it might read nothing but a reset."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_FULL)
            self.close()
            self.transport.close()

    def _expect_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._limits.head_seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        if self.transport is not None:
            self.transport.abort()


class LimitedServer(web.Server):
    """aiohttp's low-level server with limited connections. A handler is cancelled when its client goes."""

    def __init__(self, handler: Any, limits: Limits) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._limits = limits

    def __call__(self) -> RequestHandler:
        return Connection(self, self._limits)

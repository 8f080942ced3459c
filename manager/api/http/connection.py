"""Clients' connections: their limits in number and time, and their end when a credential is revoked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web_protocol import RequestHandler

from common.clock import Clock
from common.model import ClientCertificate, DashboardToken
from manager.api.access.roles import NOBODY, Caller, caller_of
from manager.store.store import Records
from manager.store.watch import Lagged

_LOG = logging.getLogger(__name__)

_FULL = "too many connections to this manager: try again soon"
_TOO_MANY = "too many connections of this client to this manager: close some"


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds.

    A client is a certificate, or a user of the unix socket. `handshakes` are TCP connections without a certificate yet,
    for which `head_seconds` hold as well.
    """

    connections: int = 1024
    connections_per_client: int = 256
    handshakes: int = 128
    handshakes_per_address: int = 32
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    body_bytes: int = 4 * 1024 * 1024
    large_body_bytes: int = 32 * 1024 * 1024
    line_bytes: int = 16 * 1024
    header_bytes: int = 64 * 1024
    headers: int = 64
    idle_seconds: float = 75.0
    write_seconds: float = 60.0


class Connection(RequestHandler):
    """One client's connection; it is closed when the head of a request does not arrive in time.

    `caller` is who is at its other end; `given`: whose requests another manager passes on over it. `current_caller` is
    who sent the present request, where each request says that. The connection does not outlive the client's
    certificate.
    """

    __slots__ = ("_deadline", "_expiry", "_limits", "_refusal", "_server", "caller", "current_caller", "forwarded")

    def __init__(self, server: LimitedServer, limits: Limits, given: Caller | None = None) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to switch it off
            keepalive_timeout=limits.idle_seconds,
            max_line_size=limits.line_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.headers,
            lingering_time=1.0,
            auto_decompress=False,  # a body goes to an engine as it came, and is ours to read only as it is
        )
        self._limits = limits
        self._server = server
        self._deadline: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._refusal = ""
        self.caller = self.current_caller = given or NOBODY
        self.forwarded = given is not None

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what aiohttp found wrong, except bytes of a client that are not HTTP."""
        if isinstance(kwargs.get("exc_info"), BadHttpMessage):
            _LOG.debug("%s", kwargs["exc_info"])
        else:
            super().log_exception(*args, **kwargs)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        ends = 0.0
        if not self.forwarded:
            self.caller, ends = caller_of(transport)
        self.set_caller(self.caller, ends)
        self._refusal = self._server.enter(self.caller)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._refusal:
            self._refuse()
            return
        if self._current_request is None and self._deadline is None:
            self._expect_head()
        super().data_received(data)

    def set_caller(self, caller: Caller, ends: float) -> None:
        """Note who sends the present request, and when that credential expires (Unix seconds, 0: never)."""
        self.current_caller = caller
        if self._expiry is not None:
            self._expiry.cancel()
        left = ends - self._server.clock.now()
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, left), self.end) if ends else None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.head_complete()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._manager is not None:  # it is told twice of the end of a connection that was taken over
            self._server.leave(self.caller)
        super().connection_lost(exc)

    def end(self) -> None:
        """Cut the connection off, whatever goes on in it."""
        if self.transport is not None:
            self.transport.abort()

    def head_complete(self) -> None:
        """Stop the clock: the request is being handled."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self) -> None:
        """Answer that there are too many. Before the client has sent anything, it might see only a reset."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_refusal(self._refusal))
            self.close()
            self.transport.close()

    def _expect_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._limits.head_seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        self.end()


def _refusal(message: str) -> bytes:
    body = msgspec.json.encode({"message": message})
    head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class LimitedServer(web.Server):
    """aiohttp's low-level server with limited connections. A handler is cancelled when its client goes."""

    def __init__(self, handler: Any, limits: Limits, clock: Clock) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.clock = clock
        self._limits = limits
        self._of_client: Counter[str] = Counter()

    def enter(self, caller: Caller) -> str:
        """Count a connection of a client; return why it is one too many, else an empty text."""
        self._of_client[caller.key] += 1
        if len(self.connections) > self._limits.connections:
            return _FULL
        return _TOO_MANY if self._of_client[caller.key] > self._limits.connections_per_client else ""

    def leave(self, caller: Caller) -> None:
        self._of_client[caller.key] -= 1
        if not self._of_client[caller.key]:
            del self._of_client[caller.key]

    def __call__(self) -> RequestHandler:
        return Connection(self, self._limits)

    def passing_on(self, caller: Caller) -> RequestHandler:
        """Make the protocol of a connection on which another manager passes on a caller's requests."""
        return Connection(self, self._limits, caller)


async def end_revoked(store: Records, server: LimitedServer) -> None:
    """End the connections of clients whose certificates or tokens are revoked, as soon as they are, until cancelled.

    A new connection of such a client is let in, and its requests are refused.
    """
    with store.watch(kinds=(ClientCertificate, DashboardToken)) as subscription:
        while True:
            with contextlib.suppress(Lagged):  # the next look is at the store itself
                await subscription.next()
            _end_revoked_now(store, server)


def _end_revoked_now(store: Records, server: LimitedServer) -> None:
    certificates, tokens = store.view.client_certificates, store.view.dashboard_tokens
    for connection in list(server.connections):
        if not isinstance(connection, Connection) or not connection.current_caller.serial:
            continue
        serial = connection.current_caller.serial
        record = certificates.get(serial) or tokens.get(serial)
        if record is None or record.revoked_at:
            _LOG.info("a connection of %s ends: its certificate or token was revoked", connection.current_caller.name)
            connection.end()

"""Requests to one node's engine that are passed on between client and engine as they stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import aiohttp

from manager.api.call import Call, Exchange, Relay
from manager.api.context import Context
from manager.api.engine.proxy import (
    ENGINE,
    ENGINE_FAILURES,
    NO_BODY,
    Query,
    check_head,
    engine_target,
    forwarded_headers,
    raw_query,
    send_request,
    unreachable,
    without_hops,
)
from manager.api.logs.stream import MULTIPLEXED, STDERR, Frame
from manager.domain.hostnames import node_name


class AnswerListener(Protocol):
    """Listens to an engine's answer on its way to the client."""

    def hear(self, data: bytes) -> None: ...

    async def ended(self) -> None:
        """Handle the end of the answer, before the client sees it; what is raised ends the client's connection."""


def forward(
    context: Context,
    node_id: str,
    call: Call,
    path: str,
    *,
    query: Query | str | None = None,
    body: bytes | None = None,
    on_success: Callable[[], None] | None = None,
    listener: AnswerListener | None = None,
) -> Relay:
    """Pass a request on to a node's engine under `path`, and its answer back, both as streams.

    `query` and `body` replace the client's own. `on_success` is called when the engine has begun to answer without an
    error; a `listener` gets such an answer. What fails before that is an `Unavailable` (503); later, the client's
    connection ends, and a multiplexed stream (logs) says why in its last message.
    """
    url = ENGINE + engine_target(
        context, node_id, call.method, path, raw_query(call) if query is None else query, call.version
    )
    return Relay(_Forwarding(context, node_id, call, url, body, on_success, listener).run)


@dataclass(frozen=True, slots=True)
class _Forwarding:
    """A request that `forward` passes on to a `url` of a node's engine."""

    context: Context
    node_id: str
    call: Call
    url: str
    body: bytes | None
    on_success: Callable[[], None] | None
    listener: AnswerListener | None

    async def run(self, exchange: Exchange) -> None:
        multiplexed = False
        try:
            async with self._engine(exchange) as response:
                await self._begin(response, exchange)
                multiplexed = response.headers.get("Content-Type", "") == MULTIPLEXED
                await self._pass_back(response, exchange)
        except ENGINE_FAILURES as error:
            failure = unreachable(self.context, self.node_id, error)
            if multiplexed:
                with contextlib.suppress(ConnectionError):
                    await exchange.send(notice(failure.message))
            raise failure from error

    @contextlib.asynccontextmanager
    async def _engine(self, exchange: Exchange) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the request; the engine's answer has begun in the block."""
        context, call = self.context, self.call
        data = _payload(call, exchange, self.body)
        headers = {**without_hops(call.headers), "accept-encoding": "identity"}
        if _keeps_length(call, data):
            headers["content-length"] = call.headers["content-length"]
        async with (
            context.presence.guard(context.store.view, self.node_id),
            context.engines.session(self.node_id) as session,
            send_request(session, call.method, self.url, data, headers) as response,
        ):
            yield response

    async def _begin(self, response: aiohttp.ClientResponse, exchange: Exchange) -> None:
        """Begin the client's answer as the engine has begun its own."""
        check_head(node_name(self.context.store.view, self.node_id), response.status, response.headers)
        if self.on_success is not None and _is_good(response):
            self.on_success()
        # With a length, the client would see the end before the listener does.
        length = _length(response) if self.listener is None else {}
        await exchange.start(response.status, {**forwarded_headers(response.headers), **length})

    async def _pass_back(self, response: aiohttp.ClientResponse, exchange: Exchange) -> None:
        listener = self.listener if _is_good(response) else None
        async for piece in response.content.iter_any():
            if listener is not None:
                listener.hear(piece)
            await exchange.send(piece)
        if listener is not None:
            await listener.ended()


def _is_good(response: aiohttp.ClientResponse) -> bool:
    return response.status < HTTPStatus.BAD_REQUEST


def _length(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the header that says how long a body is, where the engine says so and there may be one."""
    length = response.headers.get("Content-Length")
    return {} if length is None or response.status in NO_BODY else {"Content-Length": length}


def notice(message: str) -> bytes:
    """Return a line for the standard error of a multiplexed stream."""
    return Frame(STDERR, f"warning: {message}\n".encode()).encode()


def _payload(call: Call, exchange: Exchange, body: bytes | None) -> bytes | AsyncIterator[bytes] | None:
    if body is not None:
        return body
    return call.body or (exchange.body() if exchange.has_body else None)


def _keeps_length(call: Call, data: bytes | AsyncIterator[bytes] | None) -> bool:
    return isinstance(data, AsyncIterator) and "content-length" in call.headers

"""Requests that turn their connection into a stream both ways: attach, exec, and their like.

The engine answers with a head of its own and then speaks something else than HTTP. So the request goes to it over a
bare connection, its head goes back to the client as it is, and from then on bytes are carried until both sides are
done. One way may end before the other: the engine hears that a client's standard input has ended, its output goes on.
"""

from __future__ import annotations

import asyncio
import logging
import re
import select
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from common.errors import Unavailable
from common.wire.channel import carry
from manager.api.call import Call, Exchange, Relay
from manager.api.context import Context
from manager.api.engine.connections import Duplex, passing_on
from manager.api.engine.forward import notice
from manager.api.engine.proxy import (
    ENGINE_FAILURES,
    NO_BODY,
    bad_answer,
    check_head,
    engine_target,
    forwarded_headers,
    raw_query,
    unreachable,
    without_hops,
)
from manager.api.logs.stream import MULTIPLEXED
from manager.domain.hostnames import node_name

_LOG = logging.getLogger(__name__)

MAX_ERROR = 1024 * 1024
# How long a client may take to close its side after the engine has closed its own.
LINGER_SECONDS = 10.0
# How often is checked whether a client that has stopped writing is still there to read.
_LOOK_SECONDS = 5.0
_STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-9]\d\d)(?: .*)?")
_OF_AN_UPGRADE = ("upgrade", "sec-websocket-accept", "sec-websocket-protocol")
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_TOKEN = re.compile(r"[\w.+/=-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an engine's answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]

    @property
    def opens_stream(self) -> bool:
        """Whether what follows is not the body of an HTTP answer."""
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        return self.status == 101 or (self.status == 200 and not framed)

    @property
    def length(self) -> int:
        """The size of the body that follows; -1 where that is not said as an engine does."""
        if self.status in NO_BODY:
            return 0
        text = self.headers.get("content-length", "0")
        return int(text) if _LENGTH.fullmatch(text) and "transfer-encoding" not in self.headers else -1

    def to_client(self) -> bytes:
        """Return the head of a stream for the client, with the necessary headers only."""
        lines = [f"HTTP/1.1 {self.status} {'UPGRADED' if self.status == 101 else 'OK'}"]
        lines += [f"{name}: {value}" for name, value in forwarded_headers(self.headers).items()]
        if self.status == 101:
            found = {name: self.headers.get(name, "") for name in _OF_AN_UPGRADE}
            lines.append("Connection: Upgrade")
            lines += [f"{name.title()}: {value}" for name, value in found.items() if _TOKEN.fullmatch(value)]
        return "\r\n".join([*lines, "", ""]).encode("ascii")


def parse_head(raw: bytes) -> Head:
    """Read a head, the empty line at its end included.

    Raises:
        ValueError: it is not the head of an HTTP/1 answer.

    """
    first, *lines = raw.decode("latin-1").split("\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise ValueError("it is not HTTP")
    pairs = (line.partition(":") for line in lines if line)
    return Head(int(found[1]), {name.strip().lower(): value.strip() for name, _, value in pairs})


class StreamListener(Protocol):
    """Listens to both ways of a stream, to each piece before it is passed on; what is raised ends the stream."""

    async def asked(self, data: bytes) -> None: ...

    async def answered(self, data: bytes) -> None: ...


def hijack(
    context: Context,
    node_id: str,
    call: Call,
    path: str,
    *,
    listener: StreamListener | None = None,
) -> Relay:
    """Pass a request on to a node's engine, and make of both connections one stream when the engine says so.

    When it refuses, or answers as usual, its answer is passed on. A `listener` gets what the stream carries.
    """
    target = engine_target(context, node_id, call.method, path, raw_query(call), call.version)
    request = _request(call, target, call.body)
    name = node_name(context.store.view, node_id)

    async def run(exchange: Exchange) -> None:
        try:
            async with passing_on(await context.engines.connect(node_id)) as engine:
                async with context.presence.guard(context.store.view, node_id):
                    head = await _begin(engine, request, name)
                if head.opens_stream:
                    await _stream(context, node_id, engine, head, exchange, listener)
                else:
                    await _pass_on(engine[0], head, name, exchange)
        except ENGINE_FAILURES as error:
            raise unreachable(context, node_id, error) from error

    return Relay(run)


@asynccontextmanager
async def opened_stream(
    context: Context, node_id: str, call: Call, path: str, exchange: Exchange
) -> AsyncIterator[Duplex | None]:
    """Pass a request on to a node's engine and yield the stream that it opens.

    Where it refuses, its answer is the client's, and None is yielded.
    """
    target = engine_target(context, node_id, call.method, path, "", call.version)
    name = node_name(context.store.view, node_id)
    try:
        async with passing_on(await context.engines.connect(node_id)) as engine:
            async with context.presence.guard(context.store.view, node_id):
                head = await _begin(engine, _request(call, target, call.body), name)
            if head.opens_stream:
                yield engine
            else:
                await _pass_on(engine[0], head, name, exchange)
                yield None
    except ENGINE_FAILURES as error:
        raise unreachable(context, node_id, error) from error


def _request(call: Call, target: str, body: bytes) -> bytes:
    headers = {**without_hops(call.headers), "host": "docker", "content-length": str(len(body))}
    if "upgrade" in call.headers:
        headers |= {"connection": "Upgrade", "upgrade": call.headers["upgrade"]}
    if call.method == "GET":
        del headers["content-length"]
    every = [(name, each) for name, value in headers.items() for each in call.repeated.get(name, (value,))]
    lines = [f"{call.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in every)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def _begin(engine: Duplex, request: bytes, name: str) -> Head:
    engine[1].write(request)
    await engine[1].drain()
    return await _read_head(engine[0], name)


async def _pass_on(reader: asyncio.StreamReader, head: Head, name: str, exchange: Exchange) -> None:
    """Pass an ordinary answer on: an error's message, or nothing."""
    check_head(name, head.status, head.headers)
    if not 0 <= head.length <= MAX_ERROR:
        raise bad_answer(name, "its length is unexpected")
    try:
        body = await reader.readexactly(head.length)
    except asyncio.IncompleteReadError:
        raise ConnectionResetError("it closed the connection before its answer was complete") from None
    await exchange.start(head.status, forwarded_headers(head.headers))
    if body:
        await exchange.send(body)


async def _stream(
    context: Context, node_id: str, engine: Duplex, head: Head, exchange: Exchange, listener: StreamListener | None
) -> None:
    """Join client and engine; when the node is lost, a client that can be told is told."""
    reader, writer = await exchange.take_over(head.to_client())
    try:
        async with context.presence.guard(context.store.view, node_id):
            await join((reader, writer), engine, listener)
    except (Unavailable, OSError) as error:
        engine[1].transport.abort()
        message = unreachable(context, node_id, error).message
        _LOG.info("a stream was cut off: %s", message)
        if head.headers.get("content-type", "") == MULTIPLEXED and not writer.is_closing():
            writer.write(notice(message))
    finally:
        writer.close()


async def _read_head(reader: asyncio.StreamReader, name: str) -> Head:
    try:
        return parse_head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError:
        raise ConnectionResetError("it closed the connection without an answer") from None
    except asyncio.LimitOverrunError:
        raise bad_answer(name, "its head is too long") from None
    except ValueError as error:
        raise bad_answer(name, str(error)) from None


async def join(client: Duplex, engine: Duplex, listener: StreamListener | None = None) -> None:
    """Carry bytes both ways until the engine is done, and its client too; of a client that lingers only so long.

    Raises:
        ConnectionError: one of them was cut off.

    """
    asked, answered = (listener.asked, listener.answered) if listener is not None else (None, None)
    there = asyncio.ensure_future(carry(client[0], engine[1], asked))
    back = asyncio.ensure_future(carry(engine[0], client[1], answered))
    try:
        await _until_done(there, back, client[1])
        await asyncio.wait({there}, timeout=LINGER_SECONDS)
        for way in (back, there):
            if way.done() and (error := way.exception()) is not None:
                raise error
    finally:
        for way in (there, back):
            way.cancel()
        await asyncio.gather(there, back, return_exceptions=True)


async def _until_done(there: asyncio.Future[None], back: asyncio.Future[None], client: asyncio.StreamWriter) -> None:
    """Wait until the engine is done or a way breaks.

    A client that has said all may have gone, too, and a silent engine would never find out: so that is looked for.
    """
    while not back.done():
        await asyncio.wait(
            {there, back} if not there.done() else {back}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if there.done() and (there.exception() is not None or is_gone(client.transport)):
            return


def is_gone(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer of a socket has closed it both ways; one that has only ended its writing is still there."""
    connection = transport.get_extra_info("socket")
    if connection is None or transport.is_closing():
        return transport.is_closing()
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

"""Requests that the leader answers, passed on to it whole, and its answers passed back as they stream.

Nothing is sent twice: what could not be sent at all waits for the next leader (`Quorum.connect`), what was sent and
has no answer is for the client to check.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

from common.errors import Unavailable
from manager.api.call import Call, Exchange, Relay
from manager.api.engine.connections import Duplex, passing_on
from manager.api.engine.forward import notice
from manager.api.engine.hijack import Head, join, parse_head
from manager.api.engine.proxy import HOP_BY_HOP, NO_BODY
from manager.api.leader.quorum import INDEX_HEADER, Quorum
from manager.api.logs.stream import MULTIPLEXED

_CHUNK = 64 * 1024
_LONGEST_LINE = 1024
# How long a leader that has stepped down may still answer earlier requests.
_GRACE_SECONDS = 2.0
# Headers of the request that are not passed on: the connection has its own, and the site was checked here.
_NOT_FORWARDED = HOP_BY_HOP | {"host", "expect", "content-length", "origin", "sec-fetch-site"}
_OF_ANSWER = HOP_BY_HOP | {INDEX_HEADER, "content-length", "server", "date"}

_LOST = "the leader was lost in the middle of its answer: ask again"

_LOG = logging.getLogger(__name__)


def forward(quorum: Quorum, call: Call) -> Relay:
    """Pass a request on to the leader; a connection that becomes a stream is carried byte for byte, both ways."""

    async def run(exchange: Exchange) -> None:
        async with passing_on(await quorum.connect(call.caller)) as leader:
            sending = asyncio.ensure_future(_send(call, exchange, leader[1]))
            losing = asyncio.ensure_future(_end_when_lost(quorum, leader[1]))
            try:
                head = await _head(leader[0], call)
                await quorum.reached(_index(head))
                # An answer to HEAD may have no length, and has no body all the same.
                if head.opens_stream and call.method != "HEAD":
                    await sending
                    await _stream(leader, head, exchange, losing)
                else:
                    await _pass_back(leader[0], head, call, exchange)
            finally:
                sending.cancel()
                losing.cancel()
                await asyncio.gather(sending, losing, return_exceptions=True)

    return Relay(run)


async def _end_when_lost(quorum: Quorum, leader: asyncio.StreamWriter) -> None:
    """End the connection when its manager no longer leads: one that is cut off, or hangs, never ends it itself."""
    await quorum.leader_lost()
    await asyncio.sleep(_GRACE_SECONDS)
    leader.transport.abort()


async def _send(call: Call, exchange: Exchange, writer: asyncio.StreamWriter) -> None:
    """Send the request; its body piece by piece, as it comes."""
    chunked = exchange.has_body and "content-length" not in call.headers
    writer.write(_request_head(call, chunked=chunked))
    if exchange.has_body:
        async for data in exchange.body():
            writer.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked and data else data)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
    await writer.drain()


def _request_head(call: Call, *, chunked: bool) -> bytes:
    headers = {name: value for name, value in call.headers.items() if name not in _NOT_FORWARDED}
    headers["host"] = "leader"
    if "upgrade" in call.headers:
        headers |= {"connection": "Upgrade", "upgrade": call.headers["upgrade"]}
    if chunked:
        headers["transfer-encoding"] = "chunked"
    elif "content-length" in call.headers:
        headers["content-length"] = call.headers["content-length"]
    every = [(name, each) for name, value in headers.items() for each in call.repeated.get(name, (value,))]
    lines = [f"{call.method} {call.target} HTTP/1.1", *(f"{name}: {value}" for name, value in every)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


async def _head(reader: asyncio.StreamReader, call: Call) -> Head:
    try:
        return parse_head(await reader.readuntil(b"\r\n\r\n"))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError) as error:
        raise Unavailable(
            f"the leader was lost before it had answered {call.method} {call.path[:200]}: this may or may not have "
            "been done: look, then repeat it"
        ) from error


def _index(head: Head) -> int:
    text = head.headers.get(INDEX_HEADER, "0")
    return int(text) if text.isascii() and text.isdecimal() else 0


async def _pass_back(reader: asyncio.StreamReader, head: Head, call: Call, exchange: Exchange) -> None:
    await exchange.start(head.status, _answer_headers(head.headers, call))
    if call.method == "HEAD" or head.status in NO_BODY:
        return
    try:
        async for data in _body(reader, head):
            await exchange.send(data)
    except Unavailable as error:
        # With details each line has to begin with those of its task.
        if head.headers.get("content-type") == MULTIPLEXED and not call.flag("details"):
            with contextlib.suppress(ConnectionError):
                await exchange.send(notice(error.message))
        raise


def _answer_headers(headers: Mapping[str, str], call: Call) -> dict[str, str]:
    """Return the headers for the client; a length is said where the body has one."""
    kept = {name.title(): value for name, value in headers.items() if name not in _OF_ANSWER}
    if "content-length" in headers and (call.method == "HEAD" or "transfer-encoding" not in headers):
        kept["Content-Length"] = headers["content-length"]
    return kept


async def _body(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """Yield the body piece by piece, as it comes.

    Raises:
        Unavailable: it was cut off.

    """
    try:
        if "transfer-encoding" in head.headers:
            while size := int(await _line(reader), 16):
                async for data in _exactly(reader, size):
                    yield data
                await _line(reader)
            await _line(reader)
        else:
            async for data in _exactly(reader, int(head.headers.get("content-length", "0"))):
                yield data
    except (asyncio.IncompleteReadError, OSError, ValueError) as error:
        raise Unavailable(_LOST) from error


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n") or len(line) > _LONGEST_LINE:
        raise ValueError("not a line of a chunked body")
    return line.strip()


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        data = await reader.read(min(size, _CHUNK))
        if not data:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(data)
        yield data


async def _stream(leader: Duplex, head: Head, exchange: Exchange, losing: asyncio.Future[None]) -> None:
    """Join client and leader until both are done; a client whose leader was lost meanwhile is told so."""
    reader, writer = await exchange.take_over(head.to_client())
    lost = False
    try:
        await join((reader, writer), leader)
    except OSError as error:
        lost = True
        leader[1].transport.abort()
        _LOG.info("a stream was cut off: the leader or its client went: %s", error)
    finally:
        if (lost or losing.done()) and head.headers.get("content-type") == MULTIPLEXED:
            writer.write(notice(_LOST))
        writer.close()

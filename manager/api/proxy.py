"""Requests to one node's engine: asked here and read here, or passed on between client and engine as they stream.

What builds on it (containers, exec, volumes, images) needs four things:

- `ask(context, node_id, method, path, …) -> EngineReply`: one request, its whole answer (bounded) in memory.
- `ask_all(ask_one, node_ids, …)`: several nodes at once; one that fails or is late costs itself only. `ask_every` asks
  all that are there the same.
- `forward(context, node_id, call, path, …) -> Relay`: the client's request, its body and the answer as streams; routes
  with a body of any size say `raw=True`.
- `manager.api.proxy_hijack.hijack(…) -> Relay`: the same where the connection becomes a stream both ways.

Paths have no version: it is put in front, as `engineversion.py` chooses it. Bodies go through with bounded
buffers; a client that does not read holds back its own engine's answer and nothing else. A node that is lost ends what
waits for it (`proxy_presence.py`). An engine's own errors are passed on, status and body, as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from common.errors import Unavailable
from common.model.node import EngineDescription
from manager.api.call import JSON, Answer, Call, Exchange, Relay
from manager.api.context import Context
from manager.api.engineversion import spoken, too_old
from manager.api.errors import EngineError
from manager.api.logstream import MULTIPLEXED, STDERR, Frame
from manager.api.proxy_presence import node_name, ready_nodes

# The host in the URLs is of no meaning: every connection of a session ends at its node's engine.
ENGINE = "http://engine"
ENGINE_FAILURES = (Unavailable, aiohttp.ClientError, OSError, TimeoutError)
CONNECT_SECONDS = 10.0
ASK_SECONDS = 30.0
MAX_REPLY = 64 * 1024 * 1024

Query: TypeAlias = Mapping[str, str]

# What one connection says of itself, never of the request that it carries (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_FORWARDED = HOP_BY_HOP | {"host", "accept-encoding", "expect", "content-length"}
# What aiohttp would make up; an engine refuses bodies of a type that it did not ask for.
_AUTOMATIC = ("Content-Type", "User-Agent")
_ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class EngineReply:
    """An engine's whole answer; header names are lower-case."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        return self.status < 400

    def json(self) -> Any:
        """Decode the body.

        Raises:
            Unavailable: it is not JSON.

        """
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise Unavailable(f"the engine answered with something that is not JSON: {error}") from None

    @property
    def message(self) -> str:
        """The engine's own words for an error."""
        try:
            return str(msgspec.json.decode(self.body)["message"])
        except (msgspec.DecodeError, KeyError, TypeError):
            return self.body[:1000].decode(errors="replace").strip() or f"status {self.status}"

    def error(self) -> EngineError:
        """Return the engine's error as ours, same status and words."""
        return EngineError(self.status, self.message)

    def answer(self) -> Answer:
        """Return the reply as the answer to our own client."""
        kept = {"content-type", "content-length"} | HOP_BY_HOP
        headers = {name.title(): value for name, value in self.headers.items() if name not in kept}
        body = self.body or None
        return Answer(self.status, body, passed_on(headers), self.headers.get("content-type", JSON))


def engine_target(
    context: Context, node_id: str, method: str, path: str, query: Query | str | None = None, version: str = ""
) -> str:
    """Return the path for a node's engine, with the API version in front and the query behind.

    Raises:
        EngineError: 400, the engine is too old for what the query asks for.

    """
    node = context.store.view.nodes.get(node_id)
    engine = node.description.engine if node is not None else EngineDescription()
    text = query if isinstance(query, str) else urlencode(query or {})
    if refusal := too_old(engine, method, path, text):
        raise EngineError(400, f"node {node_name(context.store.view, node_id)}: {refusal}")
    return f"/v{spoken(engine, version)}{path}" + (f"?{text}" if text else "")


def raw_query(call: Call) -> str:
    """Return the query of a call, escaped as in the request's line."""
    return call.raw_query or urlencode(call.query)


def without_hops(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a client's request that an engine is to see."""
    return {name: value for name, value in headers.items() if name.lower() not in _NOT_FORWARDED}


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of an engine's answer that a client is to see."""
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP | {"date", "server"}}


def unreachable(context: Context, node_id: str, error: BaseException) -> Unavailable:
    """Word why a node's engine could not be asked; names the node."""
    if isinstance(error, Unavailable):
        return error
    reason = "it did not answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Unavailable(f"the engine of node {node_name(context.store.view, node_id)} cannot be reached: {reason}")


async def ask(
    context: Context,
    node_id: str,
    method: str,
    path: str,
    *,
    version: str = "",
    query: Query | str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float | None = ASK_SECONDS,
) -> EngineReply:
    """Send one request to a node's engine and read its answer, errors included. `seconds` None: as long as it takes.

    Raises:
        Unavailable: the node cannot be reached, is lost meanwhile, or does not answer in time; names the node.

    """
    try:
        url = ENGINE + engine_target(context, node_id, method, path, query, version)
    except EngineError as error:
        return EngineReply(error.answered, msgspec.json.encode({"message": error.message}), {"content-type": JSON})
    try:
        async with (
            context.presence.guard(context.store.view, node_id),
            asyncio.timeout(seconds),
            context.engines.session(node_id) as session,
            session.request(
                method,
                URL(url, encoded=True),
                data=body,
                headers=headers,
                timeout=_ENDLESS,
                skip_auto_headers=_AUTOMATIC,
            ) as response,
        ):
            found = {name.lower(): value for name, value in response.headers.items()}
            return EngineReply(response.status, await read_bounded(response, MAX_REPLY), found)
    except ENGINE_FAILURES as error:
        raise unreachable(context, node_id, error) from error


async def ask_all(
    ask_one: Callable[[str], Any], node_ids: Sequence[str], *, seconds: float
) -> tuple[dict[str, Any], dict[str, str]]:
    """Await `ask_one(node_id)` for all nodes at once, for at most `seconds`.

    Returns the results by node, and the reasons of the nodes that gave none.
    """
    results: dict[str, Any] = {}
    reasons: dict[str, str] = {}

    async def one(node_id: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                results[node_id] = await ask_one(node_id)
        except TimeoutError:
            reasons[node_id] = f"no answer within {seconds:g} s"
        except Unavailable as error:
            reasons[node_id] = error.message

    async with asyncio.TaskGroup() as group:
        for node_id in node_ids:
            group.create_task(one(node_id))
    return results, reasons


async def ask_every(
    context: Context,
    method: str,
    path: str,
    *,
    version: str = "",
    query: Query | str | None = None,
    seconds: float,
    node_ids: Sequence[str] | None = None,
) -> tuple[dict[str, EngineReply], dict[str, str]]:
    """Send one request to all engines that can be asked (or to those of `node_ids`) at once; results as `ask_all`'s."""

    async def one(node_id: str) -> EngineReply:
        return await ask(context, node_id, method, path, version=version, query=query, seconds=None)

    nodes = [node.id for node in ready_nodes(context.store.view)] if node_ids is None else node_ids
    return await ask_all(one, nodes, seconds=seconds)


def answers(replies: Mapping[str, EngineReply]) -> dict[str, Any]:
    """Decode what several nodes answered; an engine's refusal is the client's.

    Raises:
        EngineError: an engine has refused.

    """
    for reply in replies.values():
        if not reply.ok:
            raise reply.error()
    return {node_id: reply.json() for node_id, reply in replies.items()}


def pruned(key: str, results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what several engines say they have cleared away; `key` is where they list it."""
    results = list(results)
    deleted = [each for result in results for each in result.get(key) or ()]
    return {key: deleted or None, "SpaceReclaimed": sum(result.get("SpaceReclaimed") or 0 for result in results)}


async def read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read an engine's whole answer.

    Raises:
        Unavailable: it is longer than `limit` bytes.

    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise Unavailable(f"the engine's answer is longer than {limit} bytes")
    return bytes(body)


def forward(
    context: Context,
    node_id: str,
    call: Call,
    path: str,
    *,
    query: Query | str | None = None,
    body: bytes | None = None,
    on_success: Callable[[], None] | None = None,
) -> Relay:
    """Pass a request on to a node's engine under `path`, and its answer back, both as streams.

    `query` and `body` replace the client's own. `on_success` is called when the engine has begun to answer without an
    error. What fails before that is an `Unavailable` (503); later, the client's connection ends, and a multiplexed
    stream (logs) says why in its last message.
    """
    query = raw_query(call) if query is None else query
    url = ENGINE + engine_target(context, node_id, call.method, path, query, call.version)
    headers = {**without_hops(call.headers), "accept-encoding": "identity"}

    async def run(exchange: Exchange) -> None:
        data = _payload(call, exchange, body)
        sized = {"content-length": call.headers["content-length"]} if _keeps_length(call, data) else {}
        started = False
        multiplexed = False
        try:
            async with (
                context.presence.guard(context.store.view, node_id),
                context.engines.session(node_id) as session,
                session.request(
                    call.method,
                    URL(url, encoded=True),
                    data=data,
                    headers={**headers, **sized},
                    timeout=_ENDLESS,
                    skip_auto_headers=_AUTOMATIC,
                ) as response,
            ):
                if response.status < 400 and on_success is not None:
                    on_success()
                multiplexed = response.headers.get("Content-Type", "") == MULTIPLEXED
                started = True
                await exchange.start(response.status, passed_on(response.headers))
                async for piece in response.content.iter_any():
                    await exchange.send(piece)
        except ENGINE_FAILURES as error:
            failure = unreachable(context, node_id, error)
            if started and multiplexed:
                with contextlib.suppress(ConnectionError):
                    await exchange.send(notice(failure.message))
            raise failure from error

    return Relay(run)


def notice(message: str) -> bytes:
    """Return a line for the standard error of a multiplexed stream."""
    return Frame(STDERR, f"warning: {message}\n".encode()).encode()


def _payload(call: Call, exchange: Exchange, body: bytes | None) -> bytes | AsyncIterator[bytes] | None:
    if body is not None:
        return body
    return call.body or (exchange.body() if exchange.has_body else None)


def _keeps_length(call: Call, data: bytes | AsyncIterator[bytes] | None) -> bool:
    return isinstance(data, AsyncIterator) and "content-length" in call.headers

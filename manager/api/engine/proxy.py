"""Requests to one node's engine: asked and read here. Others stream through (`forward`, `hijack`).

What builds on it (containers, exec, volumes, images) needs four things:

- `ask(context, node_id, method, path, …) -> EngineReply`: one request, its whole answer (bounded) in memory.
- `ask_all(ask_one, node_ids, …)`: several nodes at once; one that fails or is late costs itself only. `ask_every` asks
  all that are there the same, and `read_every` reads what they say.
- `manager.api.engine.forward.forward(…) -> Relay`: the client's request, its body and the answer as streams; routes
  with a body of any size say `raw=True`.
- `manager.api.engine.hijack.hijack(…) -> Relay`: the same where the connection becomes a stream both ways.

Paths have no version: it is put in front, as `router.py` chooses it. Bodies go through with bounded
buffers; a client that does not read holds back its own engine's answer and nothing else. A node that is lost ends what
waits for it (`engine/presence.py`). An engine's own errors are passed on, status and message, as they are.

What an engine says is read by `engine/answers.py` alone, and of its headers only those pass that an engine has a reason
to send.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import unquote, urlencode

import aiohttp
import msgspec
from yarl import URL

from common.errors import Unavailable
from common.model.node import EngineDescription
from common.text.terminal import printable
from manager.api.call import JSON, Answer, Call
from manager.api.context import Context
from manager.api.engine.answers import BadAnswer, read, read_list
from manager.api.engine.presence import ready_ids
from manager.api.engine.types import ErrorMessage, Pruned
from manager.api.errors import EngineError
from manager.api.http.answer_memory import Hold
from manager.api.http.bounded_json import WrongJson
from manager.api.router import spoken, too_old
from manager.domain.hostnames import node_name

# The host in the URLs is of no meaning: every connection of a session ends at its node's engine.
ENGINE = "http://engine"
ENGINE_FAILURES = (Unavailable, aiohttp.ClientError, OSError, TimeoutError)
CONNECT_SECONDS = 10.0
ASK_SECONDS = 30.0

Query: TypeAlias = Mapping[str, str]
T = TypeVar("T")

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
# An engine redirects nobody, and compresses nothing that was not asked for.
AS_IT_COMES: Any = {"allow_redirects": False, "auto_decompress": False}


# Headers of an engine's answer that a client is to see, and what they may be.
_TELLING = {
    "content-type": re.compile(r"(application/[\w.+-]{1,80}|text/plain)(; ?charset=[\w-]{1,20})?"),
    "x-docker-container-path-stat": re.compile(r"[A-Za-z0-9+/=_-]{1,8192}"),
}
_UNKNOWN_TYPE = "application/octet-stream"
# Escaped: what is in it as it is has no meaning in URLs but `/`.
_PATH = re.compile(r"/[\w/.~%:@+-]+", re.ASCII)
NO_BODY = frozenset({204, 304})
# Of answers; engines redirect nobody.
_STATUSES = frozenset({*range(200, 300), 304, *range(400, 600)})
# An engine's own words for an error.
_MAX_MESSAGE = 4096


@dataclass(frozen=True, slots=True)
class EngineReply:
    """An engine's whole answer; header names are lower-case. `node` is the name of the engine's node."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    node: str
    hold: Hold

    @property
    def ok(self) -> bool:
        return self.status < 400

    def read(self, kind: type[T]) -> T:
        """Decode the body, and check that it is of a kind (`engine/types.py`).

        Raises:
            BadAnswer: it is not; names the node.

        """
        self.hold.charge_decoding(self.body)
        try:
            return read(self.body, kind)
        except WrongJson as error:
            raise self.wrong(error) from None

    def parts(self, kind: Any) -> Any:
        """Decode the body to a kind in which lists are as they came (`msgspec.Raw`), for `items`.

        Raises:
            BadAnswer: it is of another kind; names the node.

        """
        self.hold.charge_decoding(self.body)
        try:
            return msgspec.json.decode(self.body or b"null", type=kind)
        except (RecursionError, ValueError) as error:
            raise self.wrong(error) from None

    async def items(self, kind: type[T], texts: Iterable[msgspec.Raw] | None) -> list[T]:
        """Decode the items of a list that is in `parts`.

        Raises:
            BadAnswer: one is not of the kind; names the node.

        """
        try:
            return await read_list(texts or (), kind)
        except WrongJson as error:
            raise self.wrong(error) from None

    async def listed(self, kind: type[T]) -> list[T]:
        """Decode a body that is a list; errors as `items`'."""
        return await self.items(kind, self.parts(list[msgspec.Raw] | None))

    def wrong(self, why: object) -> BadAnswer:
        return bad_answer(self.node, str(why))

    @property
    def message(self) -> str:
        """The engine's own words for an error, each line as a terminal may show it."""
        try:
            text = read(self.body[: 2 * _MAX_MESSAGE], ErrorMessage)["message"]
        except WrongJson:
            text = self.body[:_MAX_MESSAGE].decode(errors="replace").strip()
        lines = text[:_MAX_MESSAGE].splitlines()
        return "\n".join(printable(line, _MAX_MESSAGE) for line in lines) or f"status {self.status}"

    def error(self) -> EngineError:
        """Return the engine's error as ours, same status and words."""
        return EngineError(self.status, self.message)

    def answer(self) -> Answer:
        """Return the reply as the answer to our own client; an error has the engine's own message.

        Raises:
            BadAnswer: it says that it is JSON, and is not; names the node.

        """
        headers = forwarded_headers(self.headers)
        content_type = headers.pop("Content-Type", JSON)
        if not self.ok:
            return Answer(self.status, {"message": self.message}, headers)
        if self.body and content_type == JSON:
            self.read(object)
        return Answer(self.status, self.body or None, headers, content_type)


def bad_answer(node: str, why: str) -> BadAnswer:
    """Word what is wrong with the answer of a node's engine."""
    return BadAnswer(f"the engine of node {node} gave a wrong answer: {why[:300]}")


def engine_target(
    context: Context, node_id: str, method: str, path: str, query: Query | str | None, version: str = ""
) -> str:
    """Return the path for a node's engine, with the API version in front and the query behind.

    Raises:
        EngineError: 400, the engine is too old for what the query asks for, or something in the path is not a name.

    """
    if not _PATH.fullmatch(path) or {"", ".", ".."} & {*unquote(path[1:]).split("/")}:
        raise EngineError(400, f"invalid path {unquote(path)[:200]!r}: nothing can have such a name")
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


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of an engine's answer that a client is to see: few, and these as an engine writes them."""
    lower = {name.lower(): value for name, value in headers.items()}
    found = {name: lower[name] for name in _TELLING if name in lower}
    kept = {name.title(): value for name, value in found.items() if _TELLING[name].fullmatch(value)}
    return {"Content-Type": _UNKNOWN_TYPE, **kept} if "content-type" in found else kept


def unreachable(context: Context, node_id: str, error: BaseException) -> Unavailable:
    """Word why a node's engine could not be asked; names the node."""
    if isinstance(error, Unavailable):
        return error
    reason = "it did not answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Unavailable(f"the engine of node {node_name(context.store.view, node_id)} cannot be reached: {reason[:300]}")


def check_head(node: str, status: int, headers: Mapping[str, str]) -> None:
    """Refuse an answer that no engine gives, before its body is read.

    Raises:
        BadAnswer: its status is not one of an answer, or its body is compressed, which nobody has asked for.

    """
    if status not in _STATUSES:
        raise bad_answer(node, f"its status is {status}")
    encoding = headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise bad_answer(node, f"its body is encoded as {encoding!r}")


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
    tail: int | None = None,
) -> EngineReply:
    """Send one request to a node's engine and read its answer, errors included.

    `version` is the API version that the client speaks (`1.44`); empty: the newest that the engine and the API do.
    `query` is escaped here, unless it is a text. `seconds` None: as long as it takes. With `tail`, only the last so
    many bytes of an answer of any length are kept.

    Raises:
        BadAnswer: the engine's answer is not one of an engine, or too long; names the node.
        Unavailable: the node cannot be reached, is lost meanwhile, or does not answer in time; names the node.

    """
    name = node_name(context.store.view, node_id)
    hold = context.answers.answer(node_id, name)
    try:
        url = ENGINE + engine_target(context, node_id, method, path, query, version)
    except EngineError as error:
        return EngineReply(error.answered, msgspec.json.encode({"message": error.message}), {}, name, hold)
    try:
        async with (
            context.presence.guard(context.store.view, node_id),
            asyncio.timeout(seconds),
            context.engines.session(node_id) as session,
            send_request(session, method, url, body, headers) as response,
        ):
            check_head(name, response.status, response.headers)
            found = {name.lower(): value for name, value in response.headers.items()}
            return EngineReply(response.status, await _read(response, hold, tail), found, name, hold)
    except ENGINE_FAILURES as error:
        raise unreachable(context, node_id, error) from error


async def ask_all(
    ask_one: Callable[[str], Awaitable[T]], node_ids: Sequence[str], *, seconds: float
) -> tuple[dict[str, T], dict[str, str]]:
    """Await `ask_one(node_id)` for all nodes at once, for at most `seconds`.

    Returns the results by node, and the reasons of the nodes that gave none.
    """
    results: dict[str, T] = {}
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
    context: Context, method: str, path: str, *, seconds: float
) -> tuple[dict[str, EngineReply], dict[str, str]]:
    """Send one request to all engines that can be asked at once; results as `ask_all`'s."""

    async def one(node_id: str) -> EngineReply:
        return await ask(context, node_id, method, path, seconds=None)

    return await ask_all(one, ready_ids(context.store.view), seconds=seconds)


async def read_every(
    context: Context,
    method: str,
    path: str,
    reader: Callable[[EngineReply], Awaitable[T]],
    *,
    version: str = "",
    query: Query | str | None = None,
    seconds: float,
    node_ids: Sequence[str] | None = None,
    asked_by_client: bool = True,
) -> tuple[dict[str, T], dict[str, str]]:
    """Ask as `ask_every` does, or only those of `node_ids`, and read each answer with `reader`.

    A node that refuses, or whose answer is not one of an engine, counts as one that gave none. `asked_by_client`:
    whether a client chose what is asked, so that it is the client's mistake if engines refuse that.

    Raises:
        EngineError: all engines that answered have refused what a client asked for.

    """
    refusals: list[EngineError] = []

    async def one(node_id: str) -> T:
        reply = await ask(context, node_id, method, path, version=version, query=query, seconds=None)
        if not reply.ok:
            refusals.append(reply.error())
            raise Unavailable(reply.message)
        return await reader(reply)

    nodes = ready_ids(context.store.view) if node_ids is None else node_ids
    results, reasons = await ask_all(one, nodes, seconds=seconds)
    if refusals and not results and asked_by_client:
        raise min(refusals, key=lambda refusal: refusal.answered)
    return results, reasons


async def read_pruned(reply: EngineReply) -> Pruned:
    """Read what an engine says it has cleared away."""
    return reply.read(Pruned)


def merge_pruned(
    key: Literal["ContainersDeleted", "VolumesDeleted", "CachesDeleted"], results: Iterable[Pruned]
) -> dict[str, Any]:
    """Join what several engines say they have cleared away; `key` is where they list it."""
    results = list(results)
    deleted = [each for result in results for each in result.get(key) or ()]
    return {key: deleted or None, "SpaceReclaimed": sum(max(0, result.get("SpaceReclaimed", 0)) for result in results)}


def send_request(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    data: bytes | AsyncIterator[bytes] | None,
    headers: Mapping[str, str] | None,
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """Send a request, whose answer comes as the engine writes it; `url` is escaped already."""
    return session.request(
        method,
        URL(url, encoded=True),
        data=data,
        headers=headers,
        timeout=_ENDLESS,
        skip_auto_headers=_AUTOMATIC,
        **AS_IT_COMES,
    )


async def _read(response: aiohttp.ClientResponse, hold: Hold, tail: int | None) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if tail is None:
            hold.charge(len(chunk))
        else:
            del body[:-tail]
    return bytes(body)

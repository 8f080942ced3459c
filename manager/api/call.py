"""A request and its answer as values: handlers know no HTTP, so the same code serves sockets, tests and the fuzzer.

A warning is a header beside the answer: `swarm-manager` prints it, docker's clients ignore it.
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from common.clock import parse_rfc3339, seconds
from common.text.quantities import parse_duration
from manager.api.access.roles import NOBODY, Caller
from manager.api.errors import invalid
from manager.api.http.body import decode

T = TypeVar("T", bound=msgspec.Struct)

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
Filters: TypeAlias = Mapping[str, frozenset[str]]

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
_FALSE = {"", "0", "no", "false", "none"}
_UNSIGNED = re.compile(r"[0-9]{1,20}")
_AGO = re.compile(r"[0-9][0-9.hmsuµn]{0,40}")
UNIX_TIME = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")


class Call(msgspec.Struct, frozen=True):
    """One request. `params` are the path's, `query` the first value of each query key, header names are lower-case.

    `raw_query` is the whole query as it came, keys that come several times included. `repeated` has the values of
    headers that come several times, of which `headers` has the last. `caller` is who sent it. `target` is what the
    request's line asks for, as it came. `forwarded`: another manager passed it on; `unread`: its body was left unread,
    as it was to be passed on. `origins` are those of pages that are this manager's behind a proxy.
    """

    method: str
    path: str
    params: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    version: str = ""
    raw_query: str = ""
    repeated: Mapping[str, tuple[str, ...]] = {}
    caller: Caller = NOBODY
    target: str = ""
    forwarded: bool = False
    unread: bool = False
    origins: tuple[str, ...] = ()

    def matched(self, params: Mapping[str, str], version: str) -> Call:
        """Return the call with what its path says."""
        return msgspec.structs.replace(self, params=params, version=version)

    def with_body(self, body: bytes) -> Call:
        return msgspec.structs.replace(self, body=body)

    def flag(self, name: str) -> bool:
        """Read a boolean query as the engine does: everything but 0, no, false, none and nothing is true."""
        return self.query.get(name, "").strip().lower() not in _FALSE

    def decode(self, kind: type[T]) -> T:
        """Decode the JSON body.

        Raises:
            EngineError: 400; not JSON, not declared as JSON, or a field is of the wrong type.

        """
        self.require_json()
        return decode(kind, self.body)

    def require_json(self) -> None:
        content_type = self.headers.get("content-type", "")
        if not content_type and not self.body:
            return
        if content_type.partition(";")[0].strip().lower() != JSON:
            text = f"unsupported Content-Type header ({content_type}): must be 'application/json'"
            raise invalid(text)

    def index(self, noun: str) -> int:
        """Return the `version` query: the object's version index that an update must repeat."""
        text = self.query.get("version", "")
        if _UNSIGNED.fullmatch(text) is None or int(text) >= 2**64:
            kind = "invalid syntax" if _UNSIGNED.fullmatch(text) is None else "value out of range"
            raise invalid(f"invalid {noun} version '{text}': strconv.ParseUint: parsing \"{text}\": {kind}")
        return int(text)

    def filters(self, accepted: frozenset[str]) -> Filters:
        """Read `filters`: `{"name": ["x"]}` or the older `{"name": {"x": true}}`.

        Raises:
            EngineError: 400; not of that form, or a filter that this list does not know.

        """
        text = self.query.get("filters", "")
        if not text:
            return {}
        filters = _parse_filters(text)
        for name in filters:
            if name not in accepted:
                raise invalid(f"invalid filter '{name}'")
        return filters

    def instant(self, name: str) -> float | None:
        """Read a time query (Unix seconds with a fraction, or RFC 3339); None when it is not given."""
        text = self.query.get(name, "")
        return moment(name, text) if text else None


def moment(name: str, text: str, now: float | None = None) -> float:
    """Read an instant: Unix seconds with a fraction, RFC 3339, or with `now` how long ago (`10m`, `1h30m`).

    Raises:
        EngineError: 400; names what was being read.

    """
    if UNIX_TIME.fullmatch(text):
        return float(text)
    try:
        if now is not None and _AGO.fullmatch(text):
            return now - seconds(parse_duration(text))
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        expected = "expected Unix seconds or a time like 2026-01-31T12:00:00Z"
        raise invalid(f"could not parse {name} timestamp: {text[:100]!r}: {expected}") from None


def _parse_filters(text: str) -> dict[str, frozenset[str]]:
    try:
        return {k: frozenset(v) for k, v in msgspec.json.decode(text, type=dict[str, list[str]]).items()}
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        pass  # the older form is tried next
    try:
        older = msgspec.json.decode(text, type=dict[str, dict[str, bool]])
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise invalid("invalid filter") from None
    return {name: frozenset(value for value, on in values.items() if on) for name, values in older.items()}


class BodyHandling(enum.Enum):
    """What the server does with a request's body before the request is answered."""

    READ = enum.auto()
    READ_LARGE = enum.auto()  # up to a higher limit
    UNREAD = enum.auto()  # left to the handler, or dropped with a refusal
    FORWARDED = enum.auto()  # left to another manager, which gets the whole request


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `value` is what JSON makes of it, bytes are sent as they are, None is an empty body.

    A `public` one is a file of this program, or made of shapes that have no place for a secret: nothing in it is to be
    hidden from anybody.
    """

    status: int = 200
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    public: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer written piece by piece: `produce` gets a function that sends bytes, and returns at the end.

    An `endless` one may be read as slowly as its reader likes; others end when a client stalls. `mapped` returns the
    stream of a JSON list with a function applied to each item. A `public` one is made of shapes that have no place for
    a secret.
    """

    produce: Callable[[Send], Awaitable[None]]
    content_type: str = JSON
    status: int = 200
    endless: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    mapped: Callable[[Callable[[Any], Any]], Stream] | None = None
    public: bool = False


class Exchange(Protocol):
    """The client's side of a request that another server answers."""

    def body(self) -> AsyncIterator[bytes]:
        """Return the request's body, piece by piece; what is not asked for is not read from the client."""

    @property
    def has_body(self) -> bool: ...

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the answer's head, at once."""

    async def send(self, data: bytes) -> None:
        """Send a piece of the answer's body; waits while the client reads slower."""

    async def take_over(self, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send `head` as it is, and turn the connection into a stream both ways, which the caller closes."""


@dataclass(frozen=True, slots=True)
class Relay:
    """An answer from elsewhere: `run` passes it on to the client, and what the client sends the other way.

    It may fail as a handler does until it has started the answer; later failures end the connection.
    """

    run: Callable[[Exchange], Awaitable[None]]


Reply: TypeAlias = Answer | Stream | Relay


_LONGEST = 4096
_NOT_IN_HEADERS = re.compile(r"[^ -\[\]-~]")


def warning(text: str) -> dict[str, str]:
    """Return the `Warning` header with a text, or no header for an empty one."""
    if not text:
        return {}
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + " …"
    clean = _NOT_IN_HEADERS.sub("?", " ".join(text.replace("…", "...").replace('"', "'").split()))
    return {"Warning": f'199 swarm-manager "{clean}"'}

"""Redaction: callers that may not see environments see no likely secret in any answer (`hide` says what is one).

Every answer to such a caller passes here, so that a handler cannot forget it.

Passwords are in environment variables, and in an image's history beside its build arguments. They are also in options
of drivers: a volume's `o=username=…,password=…`, a log driver's token. Names are shown, values never.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec

from common.errors import Unavailable
from common.model.service import EXTENSION_PREFIX
from manager.api.access.roles import Caller
from manager.api.call import EVENT_STREAM, Answer, Exchange, Relay, Reply, Send, Stream
from manager.api.http import bounded_json
from manager.api.http.answer_memory import Lease
from manager.api.logs.stream import MULTIPLEXED, RAW

# The overview's events are made of shapes that have no place for an environment (`manager/overview`).
_PASSED = frozenset({"text/plain", EVENT_STREAM, MULTIPLEXED, RAW})
# Reserves more bytes; False if there is no room.
Room: TypeAlias = Callable[[int], bool]
# A shorter line is always kept.
_FREE = 256 * 1024
_MAX_LINE = 16 * 1024 * 1024

HIDDEN = "<hidden>"
# What a secret's content can be guessed by, from a list of passwords: it is left out, as `stack plan` would read it.
DIGEST_LABEL = f"{EXTENSION_PREFIX}digest"
# Fields that have an instruction of a Dockerfile, or the words of a command that may be one.
_INSTRUCTIONS = frozenset({"CreatedBy", "Command"})
_COMMANDS = frozenset({"Cmd", "Args", "Entrypoint", "OnBuild"})
# `ENV A=b`, `ARG A=b`, as builders write them into an image's history, the classic one behind `/bin/sh -c #(nop)`.
_SETTING = re.compile(r"^(?P<before>(?:.*#\(nop\)\s*)?(?:ENV|ARG)\s+[^\s=]+)[\s=].*$", re.DOTALL)
# `RUN |2 A=b C=d /bin/sh -c …`: a command with that many arguments of the build before it, which nothing ends.
_WITH_ARGUMENTS = re.compile(r"^(?P<before>(?:.*\s)?\|[1-9]\d* [^\s=]+)=.*$", re.DOTALL)
_COUNT = re.compile(r"\|([1-9]\d{0,3})")


def redact_reply(caller: Caller, reply: Reply, lease: Lease) -> Reply:
    """Return the reply as its caller may see it; the memory for that comes from the request's lease."""
    if caller.environment:
        return reply
    if isinstance(reply, Answer):
        return reply if reply.public else _answer(reply)

    def room(size: int) -> bool:
        return lease.take(caller.key, size)

    if isinstance(reply, Relay):
        return Relay(lambda exchange: _relay(reply, exchange, room))
    if reply.mapped is not None:
        return reply.mapped(hide)
    return replace(reply, produce=lambda send: _produce(reply, send, room)) if _is_json(reply.content_type) else reply


def _answer(answer: Answer) -> Answer:
    if not isinstance(answer.value, bytes):
        return replace(answer, value=hide(answer.value))
    return replace(answer, value=_line(answer.value)) if _is_json(answer.content_type) and answer.value else answer


def _is_json(content_type: str) -> bool:
    """Whether there may be something to hide: everything except logs and plain text counts as JSON."""
    return content_type.partition(";")[0].strip().lower() not in _PASSED


def _line(text: bytes) -> bytes:
    """Hide what is in a piece of JSON. A long list is decoded item by item."""
    try:
        if text.lstrip().startswith(b"["):
            items = msgspec.json.decode(text, type=list[msgspec.Raw])
            return b"[" + b",".join(_item(bytes(item)) for item in items) + b"]"
        return _item(text)
    except (ValueError, RecursionError):  # what is wrong with JSON is a ValueError
        raise Unavailable(
            "this answer cannot be shown to a viewer: its content is not the JSON that its header announces"
        ) from None


def _item(text: bytes) -> bytes:
    return msgspec.json.encode(hide(bounded_json.decode(text)))


class _Lines:
    """Redacts a stream of JSON lines, line by line."""

    def __init__(self, send: Send, room: Room) -> None:
        self._send = send
        self._room = room
        self._held = 0
        self._rest = bytearray()

    async def feed(self, data: bytes) -> None:
        # The kept part is not searched again for each piece: an engine may send a long line in many.
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            lines.append(bytes(self._rest + end))
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > max(_FREE, self._held):
            self._grow(len(self._rest))
        for line in lines:
            if line.strip():
                await self._send(_line(line) + b"\n")

    def _grow(self, size: int) -> None:
        """Reserve room for a line of `size` bytes and more."""
        wanted = min(2 * size, _MAX_LINE)
        if size > _MAX_LINE or not self._room(wanted - self._held):
            raise Unavailable("this answer cannot be shown to a viewer: a line of it is too long")
        self._held = wanted

    async def end(self) -> None:
        if self._rest.strip():
            await self._send(_line(bytes(self._rest)))


async def _produce(stream: Stream, send: Send, room: Room) -> None:
    lines = _Lines(send, room)
    await stream.produce(lines.feed)
    await lines.end()


async def _relay(relay: Relay, exchange: Exchange, room: Room) -> None:
    hiding = _HidingExchange(exchange, room)
    await relay.run(hiding)
    await hiding.end()


class _HidingExchange:
    """Passes an answer on, with its JSON redacted."""

    def __init__(self, exchange: Exchange, room: Room) -> None:
        self._exchange = exchange
        self._room = room
        self._lines: _Lines | None = None

    def body(self) -> AsyncIterator[bytes]:
        return self._exchange.body()

    @property
    def has_body(self) -> bool:
        return self._exchange.has_body

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        types = [value for name, value in headers.items() if name.lower() == "content-type"]
        if any(map(_is_json, types)):
            self._lines = _Lines(self._exchange.send, self._room)
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        await self._exchange.start(status, headers)

    async def send(self, data: bytes) -> None:
        await (self._exchange.send if self._lines is None else self._lines.feed)(data)

    async def end(self) -> None:
        if self._lines is not None:
            await self._lines.end()

    async def take_over(self, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self._exchange.take_over(head)


# --- what is a likely secret, and how it reads instead; pure ---


def hide(value: Any) -> Any:
    """Return decoded JSON in which `NAME=<hidden>` stands for what may be a secret, however deep it is."""
    if isinstance(value, dict):
        return {key: _field(key, inner, value) for key, inner in value.items() if key != DIGEST_LABEL}
    if isinstance(value, list | tuple):
        return [hide(each) for each in value]
    if isinstance(value, msgspec.Raw):  # rendered before, and kept
        return hide(msgspec.json.decode(value))
    return hide(msgspec.to_builtins(value)) if isinstance(value, msgspec.Struct) else value


def _field(key: str, inner: Any, beside: Mapping[str, Any]) -> Any:
    if isinstance(inner, list | tuple):
        if key == "Env":
            return [_variable(str(each)) for each in inner]
        if key in _COMMANDS:
            return _command(inner)
    elif isinstance(inner, dict):
        if key == "LogConfig":
            return {name: _options(each) if name == "Config" else hide(each) for name, each in inner.items()}
        if key == "DriverOpts" or (key == "Options" and "IPAM" not in beside):  # a network's are not secret
            return _options(inner)
    elif key in _INSTRUCTIONS and isinstance(inner, str):
        return instruction(inner)
    return hide(inner)


def _options(options: Any) -> Any:
    return dict.fromkeys(options, HIDDEN) if isinstance(options, dict) else hide(options)


def _variable(entry: str) -> str:
    name, equals, _ = entry.partition("=")
    return f"{name}={HIDDEN}" if equals else name


def instruction(text: str) -> str:
    """Return an instruction of a Dockerfile without the values that it sets.

    Nothing tells where one value ends and the next begins: of several, the first name alone is left.
    """
    for form in (_SETTING, _WITH_ARGUMENTS):
        found = form.match(text)
        if found is not None:
            return f"{found['before']}={HIDDEN}"
    return text


def _command(words: Iterable[Any]) -> list[Any]:
    """Return a command's words; those are hidden that a builder has put before it, or that are an instruction's."""
    shown: list[Any] = []
    arguments = 0
    for word in words:
        if not isinstance(word, str):
            shown.append(hide(word))
            continue
        shown.append(_variable(word) if arguments else instruction(word))
        count = _COUNT.fullmatch(word)
        arguments = int(count[1]) if count is not None and not arguments else max(0, arguments - 1)
    return shown

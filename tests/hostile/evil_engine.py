"""A Docker engine that means harm: it listens on a unix socket and answers whatever it is told to, or anything at all.

`say` decides what is answered; by default the right answer, or with `chance` one of `WRONG_ANSWERS`. Nothing here
needs a manager: the socket may stand behind a real worker, an evil one, or the API's own way to engines in a test.
"""

import asyncio
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.container_engine import ContainerEngine, Request
from tests.fakes.engine_answers import EVENTS, usual
from tests.hostile.wrong_json import mutated, text_of, wrong

STAMPS = (b"9999-99-99T99:99:99.999999999Z", b"0000-00-00T00:00:00.000000000Z", b"2026-11-30T15:28:39.000000000Z", b"")

# A request, its right answer (status, JSON or bytes), what belongs to others, and chance → all that is said.
Wrong = Callable[[Request, int, Any, tuple[str, ...], random.Random], bytes]
HUGE = 2_000_000


def response(status: int | str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Write an answer: `headers` are whole lines, `length` is what it says its body has, if that is not so."""
    size = len(body) if length is None else length
    kinds = (
        () if any(each.lower().startswith("content-type:") for each in headers) else ("Content-Type: application/json",)
    )
    lines = (f"HTTP/1.1 {status} X", *kinds, f"Content-Length: {size}", *headers)
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def frame(stream: int, payload: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def right(_: Request, status: int, value: Any, __: tuple[str, ...], ___: random.Random) -> bytes:
    return response(status, value if isinstance(value, bytes) else json.dumps(value).encode())


def mutation(request: Request, status: int, value: Any, others: tuple[str, ...], rng: random.Random) -> bytes:
    """Change one thing in the right answer."""
    value = parsed(value)
    return response(status, text_of(mutated(value, rng, others)))


def parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, bytes) else value
    except ValueError:
        return {}


def another_kind(_: Request, status: int, value: Any, __: tuple[str, ...], rng: random.Random) -> bytes:
    """Answer with a list where an object belongs, and the other way round, or something else."""
    value = parsed(value)
    return response(status, text_of(rng.choice(([value], {"a": value}, wrong(rng)))))


def success(_: Request, __: int, value: Any, others: tuple[str, ...], rng: random.Random) -> bytes:
    """Say that all is well, whatever was asked, and give something of others for it."""
    names = others or ("x",)
    thing = {key: rng.choice(names) for key in ("Id", "ID", "Name", "Created")} | {"State": wrong(rng)}
    return response(rng.choice((200, 201, 204)), text_of(rng.choice((thing, [thing], parsed(value)))))


def refusal(_: Request, __: int, ___: Any, ____: tuple[str, ...], rng: random.Random) -> bytes:
    message = rng.choice(({"message": wrong(rng)}, wrong(rng), {"message": "no\r\nWarning: 199 x"}, [[]]))
    return response(rng.choice((400, 404, 409, 418, 500, 503, 599)), text_of(message))


def deep(_: Request, status: int, __: Any, ___: tuple[str, ...], rng: random.Random) -> bytes:
    depth = rng.choice((70, 900, 1100, 20_000, 200_000))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return response(status, opened * depth + b"1" + closed * depth)


def wide(_: Request, status: int, __: Any, ___: tuple[str, ...], rng: random.Random) -> bytes:
    """Answer with what is a few bytes on the wire and many in memory."""
    count = rng.choice((1000, HUGE // 40))
    return response(status, b"[" + rng.choice((b"[],", b"{},", b'"ab",', b"0,")) * count + b"0]")


def no_json(_: Request, status: int, __: Any, ___: tuple[str, ...], rng: random.Random) -> bytes:
    return response(status, rng.choice((b"", b"<html>", b"\xff\xfe", b"{}{}", b"nul", b"\x00" * 50, rng.randbytes(60))))


def headers(_: Request, status: int, value: Any, __: tuple[str, ...], rng: random.Random) -> bytes:
    """Give the right answer with headers that are not an engine's to send."""
    extra = rng.choice(
        (
            ("Set-Cookie: a=b", 'Warning: 199 swarm-manager "w1: gone"'),
            ("Connection: close, X-Y", "Trailer: Z", "Upgrade: h2c"),
            ("Api-Version: 9.9", "Server: evil", "api-version: 1.0", "Swarm: inactive"),
            ("X-A: \x1b[31m", "X-B: \xff\xfe", "X-C: " + "c" * 7000),
            ("Content-Type: text/html", "Access-Control-Allow-Origin: *"),
            ("Content-Type: \x7f/é; a=b", "Date: never"),
            ("X-Docker-Container-Path-Stat: \x1b]0;x\x07",),
            ("Location: http://192.0.2.1/", "Refresh: 0"),
            tuple(f"X-{number}: y" for number in range(500)),
        )
    )
    return response(status, value if isinstance(value, bytes) else json.dumps(value).encode(), *extra)


def framing(_: Request, status: int, value: Any, __: tuple[str, ...], rng: random.Random) -> bytes:
    """Say something else of the answer's form than it has."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    chunked = f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return rng.choice(
        (
            response(status, body, length=len(body) + 10),
            response(status, body, length=-1),
            response(status, body).replace(b"Content-Length: ", b"Content-Length: x"),
            response(status, body, "Content-Length: 3"),
            response(status, body, "Content-Encoding: gzip"),
            response(status, gzip.compress(b"[" + b"0," * HUGE + b"0]"), "Content-Encoding: gzip"),
            response(status, body, "Content-Encoding: br"),
            chunked + b"zz\r\n",
            chunked + b"5\r\nab",
            chunked + b"ffffffffffffffff\r\n" + body,
            b"HTTP/1.1 200 OK\r\n\r\n" + body,
        )
    )


def statuses(_: Request, __: int, value: Any, ___: tuple[str, ...], rng: random.Random) -> bytes:
    status = rng.choice(
        ("0", "99", "100", "101", "199", "204", "205", "301", "302", "304", "308", "600", "999", "1000", "-1", "x")
    )
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return response(status, body, "Location: /v1.51/containers/json")


def no_http(_: Request, __: int, ___: Any, ____: tuple[str, ...], rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"",
            b"\r\n\r\n",
            b"HTTP/1.1",
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/9.9 200 OK\r\n\r\n",
            rng.randbytes(300) + b"\r\n\r\n",
        )
    )


def stream(request: Request, _: int, __: Any, others: tuple[str, ...], rng: random.Random) -> bytes:
    """Answer with a stream of events or of log messages in which one thing is wrong."""
    if request.path == "/events":
        lines = [text_of(mutated(event, rng, others)) for event in EVENTS]
        lines.append(rng.choice((b"x" * HUGE, b"{", b"[" * 5000, b'{"Type":"node","Action":"remove","scope":"swarm"}')))
        return b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n" + b"\n".join(lines)
    stamped = frame(rng.randrange(3), rng.choice(STAMPS) + b" " + rng.choice((b"\x1b[2J", b"\xff\xfe", b"x" * 70_000)))
    broken = rng.choice((stamped, rng.randbytes(40), b"\x01\x00\x00\x00\xff\xff\xff\xff", b"\x09" * 8, b"x" * HUGE))
    kind = rng.choice(("multiplexed", "raw"))
    return f"HTTP/1.1 200 X\r\nContent-Type: application/vnd.docker.{kind}-stream\r\n\r\n".encode() + stamped + broken


def taken_over(request: Request, _: int, __: Any, ___: tuple[str, ...], rng: random.Random) -> bytes:
    """Answer a request that would make a stream of its connection with a head of any sort."""
    first = rng.choice(("101 UPGRADED", "200 OK", "101", "100 Continue", "204 No", "500 X", "403 \x1b[31mno"))
    lines = ("Upgrade: tcp", "Connection: Upgrade", "Set-Cookie: a=b", "Content-Length: x", "Content-Length: -5")
    chosen = rng.sample(lines, rng.randrange(len(lines)))
    return "\r\n".join([f"HTTP/1.1 {first}", *chosen, "", ""]).encode() + rng.randbytes(100)


WRONG_ANSWERS: dict[str, Wrong] = {
    each.__name__: each
    for each in (
        mutation,
        another_kind,
        success,
        refusal,
        deep,
        wide,
        no_json,
        headers,
        framing,
        statuses,
        no_http,
        stream,
        taken_over,
    )
}


def _kinds_for(request: Request) -> list[Wrong]:
    """Return the ways to answer a request wrongly, those that are made for its kind several times."""
    if "upgrade" in request.headers:
        return [*WRONG_ANSWERS.values(), *10 * [taken_over]]
    if request.path == "/events" or request.path.endswith("/logs"):
        return [*WRONG_ANSWERS.values(), *10 * [stream]]
    return [*WRONG_ANSWERS.values(), *5 * [mutation]]


class EvilEngine(ContainerEngine):
    """`others` are ids and names that belong to other nodes; `say`, when set, answers every request."""

    def __init__(
        self,
        path: Path,
        *,
        seed: int = 1,
        chance: float = 0.9,
        others: tuple[str, ...] = (),
        say: Callable[[Request], bytes] | None = None,
    ) -> None:
        super().__init__(path)
        self.others = others
        self.say = say
        self._rng = random.Random(seed)
        self._chance = chance

    async def _respond(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._body(request, reader)
        writer.write(self.answer(request))
        await writer.drain()

    def answer(self, request: Request) -> bytes:
        """Return all that is said to a request, before the connection is closed."""
        if self.say is not None:
            return self.say(request)
        status, value = self.usual(request)
        kind = self._rng.choice(_kinds_for(request)) if self._rng.random() < self._chance else right
        return kind(request, status, value, self.others, self._rng)

    def usual(self, request: Request) -> tuple[int, Any]:
        """Return what an honest engine would answer."""
        if request.path == "/events":
            return 200, b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)
        if request.path.endswith("/logs"):
            return 200, frame(1, b"2026-11-30T15:28:39.000000000Z said\n") + frame(2, b"warned\n")
        return usual(request.method, request.path) or (404, {"message": "page not found"})

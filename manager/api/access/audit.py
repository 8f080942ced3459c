"""The audit log: an entry for every request that changes something, needs more than a viewer's role, or was refused.

Never bodies, queries or headers: they may hold secrets. `AuditFile` writes the lines.

GET /swarm/audit shows them, the newest first. Not Docker's.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

import msgspec

from common.aio.rate_limit import Rate, RateLimit
from common.clock import Clock, parse_rfc3339, rfc3339
from common.errors import SwarmError
from common.model.client import Role
from common.model.service import STACK_LABEL
from manager.api.access.roles import Caller
from manager.api.call import Answer, Call, Exchange, Relay, Reply
from manager.api.context import Context
from manager.api.errors import describe, invalid
from manager.api.leader.quorum import MADE_HEADER
from manager.api.lookup import find
from manager.api.router import Match, Place, Route
from manager.overview.past import GrantedRequest
from manager.store.view import NamedTableView, View

# Takes an answer's status, and the id of what was created, if that is known.
Note: TypeAlias = Callable[[int, str], None]

# Entries of one answer.
MOST = 500
_NUMBER = re.compile(r"[0-9]{1,6}")
_READING = ("GET", "HEAD")
_REFUSED = (401, 403)
_GRANTED = range(200, 300)
_LONGEST = 512
_FAILED = 400
# The status of a request whose client went before its answer began, as web servers log it.
UNANSWERED = 499
# How many refusals of a client are written at once, and how many a second from then on: at most 6 MB a day.
_WRITTEN = Rate(burst=100, per_second=0.05)
# One key for all that are not clients: they can show a new certificate each time.
_STRANGERS = "strangers"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request: when (RFC 3339), who, from where, what, on which object, with which status.

    `serial` is that of the client's certificate; `uid` and `pid` are of the process at a unix socket. `object` is an
    id; `object_name` is its name at that time, which nothing else knows once it is removed, and
    `object_stack` the stack that it was of. `unwritten` is how many requests of the same client
    before this one have no entry (`Refusals`).
    """

    time: str
    name: str
    origin: str = msgspec.field(name="from")
    role: str = "none"
    serial: str = ""
    uid: int | None = None
    pid: int | None = None
    method: str
    path: str
    object: str = ""
    object_name: str = ""
    object_stack: str = ""
    status: int
    unwritten: int = 0

    @property
    def is_read(self) -> bool:
        """Whether it was a look, and granted; a stream that was taken over (101) may be somebody's shell."""
        return self.method in _READING and self.status in _GRANTED


class AuditLog(Protocol):
    """Where entries are kept. Neither method fails, and `record` does not block."""

    def record(self, entry: Entry) -> None:
        """Take an entry."""

    def read(self, before: str, limit: int, *, changes: bool) -> Sequence[Entry]:
        """Return the newest entries, of those older than an instant (RFC 3339) if one is given. It blocks on the disk.

        `changes` leaves out what only read (`Entry.is_read`).
        """


@dataclass(frozen=True, slots=True)
class Subject:
    """What a request is about: an object of the store by id, name and stack, else the path's word for it as `id`."""

    id: str = ""
    name: str = ""
    stack: str = ""


class Refusals:
    """Says which refusals are written, so that those who may change nothing cannot fill the log and push out the rest.

    Each viewer, and all who are not clients together, have a rate limit; an entry tells how many were left out.
    """

    def __init__(self) -> None:
        self._limit = RateLimit(_WRITTEN)
        self._unwritten: Counter[str] = Counter()

    def take(self, caller: Caller, status: int, now: float) -> int | None:
        """Return how many of the client's were left out before this one; None if this one is left out, too."""
        if status < _FAILED or caller.role not in (None, Role.VIEWER):
            return 0
        key = caller.key if caller.role is not None else _STRANGERS
        if self._limit.allow(key, now):
            return self._unwritten.pop(key, 0)
        self._unwritten[key] += 1
        return None


@dataclass(frozen=True, slots=True)
class Audit:
    """Passes requests to `write` as they are answered; a relayed one when its answer begins."""

    write: Callable[[Entry], None]
    clock: Clock
    refusals: Refusals = field(default_factory=Refusals)

    def record_reply(self, call: Call, match: Match | None, subject: Subject, reply: Reply) -> Reply:
        """Return the reply, and record the request now or when a relay has its status. `subject`: see `subject_of`."""
        if isinstance(reply, Relay):
            note = partial(self._note, call, match, subject)
            return Relay(lambda exchange: _relay_and_note(reply, exchange, note))
        self._note(call, match, subject, reply.status, created_id(reply))
        return reply

    def record_unanswered(self, call: Call, match: Match | None, subject: Subject) -> None:
        """Record a request whose client went before its answer: what it asked for may be done all the same."""
        self._note(call, match, subject, UNANSWERED, "")

    def _note(self, call: Call, match: Match | None, subject: Subject, status: int, made: str) -> None:
        if not _worth_noting(call, match, status):
            return
        now = self.clock.now()
        unwritten = self.refusals.take(call.caller, status, now)
        if unwritten is not None:
            about = subject if subject.id else Subject(made)
            self.write(_entry(now, call.caller, call, about, status, unwritten))


def granted_changes(entries: Sequence[Entry]) -> list[GrantedRequest]:
    """Return the entries of requests that changed something, for the timeline."""
    return [
        GrantedRequest(
            parse_rfc3339(each.time),
            each.name,
            each.method,
            each.path,
            each.object,
            each.object_name,
            each.object_stack,
        )
        for each in entries
        if each.method not in _READING and each.status in _GRANTED
    ]


def subject_of(view: View, match: Match) -> Subject:
    """Return which object a request names."""
    reference = match.params.get("id") or match.params.get("name") or ""
    tables: dict[str, NamedTableView[Any]] = {
        "configs": view.configs,
        "networks": view.networks,
        "nodes": view.nodes,
        "secrets": view.secrets,
        "services": view.services,
    }
    if not reference or match.resource not in tables:
        return Subject(reference)
    try:
        found = find(tables[match.resource], match.resource, reference)
    except SwarmError:
        return Subject(reference)
    return Subject(found.id, found.name, found.spec.labels.get(STACK_LABEL, ""))


def _worth_noting(call: Call, match: Match | None, status: int) -> bool:
    more_than_reading = match is not None and match.needs is not Role.VIEWER
    return call.method not in _READING or more_than_reading or status in _REFUSED


def _entry(now: float, caller: Caller, call: Call, subject: Subject, status: int, unwritten: int) -> Entry:
    return Entry(
        time=rfc3339(now),
        name=caller.name,
        origin=caller.origin,
        role=caller.role.label if caller.role is not None else "none",
        serial=caller.serial,
        uid=caller.uid,
        pid=caller.pid,
        method=_text(call.method),
        path=_text(call.path),
        object=_text(subject.id),
        object_name=_text(subject.name),
        object_stack=_text(subject.stack),
        status=status,
        unwritten=unwritten,
    )


def _text(value: str) -> str:
    """Return what a client sent as text that JSON can hold, cut to 512 characters."""
    return value[:_LONGEST].encode(errors="backslashreplace").decode()


def created_id(reply: Reply) -> str:
    """Return the id of what was created, if the answer has one, else an empty text."""
    if isinstance(reply, Answer) and isinstance(reply.value, dict):
        return str(reply.value.get("ID") or reply.value.get("Id") or "")
    return ""


async def _relay_and_note(relay: Relay, exchange: Exchange, note: Note) -> None:
    noting = _NotingExchange(exchange, note)
    try:
        await relay.run(noting)
    except BaseException as error:
        if not noting.noted:
            note(_status_of(error), "")
        raise


def _status_of(error: BaseException) -> int:
    """Return the status of a request that failed before its answer began."""
    if isinstance(error, asyncio.CancelledError):
        return UNANSWERED
    return describe(error)[0] if isinstance(error, SwarmError) else HTTPStatus.INTERNAL_SERVER_ERROR


class _NotingExchange:
    """Passes an answer on. When it begins, `note` gets its status and the id of what the leader says it has created."""

    def __init__(self, exchange: Exchange, note: Note) -> None:
        self._exchange = exchange
        self._note = note
        self.noted = False

    def body(self) -> AsyncIterator[bytes]:
        return self._exchange.body()

    @property
    def has_body(self) -> bool:
        return self._exchange.has_body

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        made = next((value for name, value in headers.items() if name.lower() == MADE_HEADER), "")
        self._say(status, made)
        kept = {name: value for name, value in headers.items() if name.lower() != MADE_HEADER}
        await self._exchange.start(status, kept)

    async def send(self, data: bytes) -> None:
        await self._exchange.send(data)

    async def take_over(self, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._say(int(head.split(b" ", 2)[1]))
        return await self._exchange.take_over(head)

    def _say(self, status: int, made: str = "") -> None:
        self.noted = True
        self._note(status, made)


async def audit(context: Context, call: Call) -> Reply:
    """Answer with at most `limit` entries, of those older than the instant `before` (RFC 3339) if it is given.

    `changes=1` leaves out what only read: an open dashboard would fill the answer with its own requests.
    """
    before, limit = call.query.get("before", ""), call.query.get("limit", str(MOST))
    if _NUMBER.fullmatch(limit) is None or not 0 < int(limit) <= MOST:
        raise invalid(f"limit={limit[:40]!r} is not a number from 1 to {MOST}")
    if before:
        try:
            parse_rfc3339(before)
        except (ValueError, OverflowError):
            raise invalid(f"before={before[:40]!r} is not a time like 2026-01-31T12:00:00Z") from None
    entries = await asyncio.to_thread(context.read_audit, before, int(limit), changes=call.flag("changes"))
    return Answer(value={"Entries": entries})


ROUTES = (Route("GET", "/swarm/audit", audit, needs=Role.ADMIN, place=Place.HERE),)

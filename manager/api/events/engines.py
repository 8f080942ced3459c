"""What happens on the nodes' own engines, for one client of /events: containers, images, volumes.

Each event gets its node's id and name among its attributes. A node that is lost or comes back costs nothing but its own
events: those that its engine still remembers are told when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import aiohttp
import msgspec

from common.aio.steady import Backoff
from common.errors import Unavailable
from manager.api.call import Filters
from manager.api.context import Context
from manager.api.engine.answers import BadAnswer, read_exactly
from manager.api.engine.presence import is_ready, ready_ids, ready_nodes
from manager.api.engine.proxy import (
    AS_IT_COMES,
    CONNECT_SECONDS,
    ENGINE,
    ENGINE_FAILURES,
    EngineReply,
    ask,
    ask_all,
    engine_target,
)
from manager.api.engine.types import Event
from manager.api.http.bounded_json import WrongJson
from manager.domain.hostnames import node_name

_LOG = logging.getLogger(__name__)

LOCAL_TYPES = frozenset({"container", "image", "volume"})
# What only the cluster's own objects have: a client that filters by these hears nothing of the engines.
_OF_THE_CLUSTER = frozenset({"config", "network", "node", "secret", "service"})
_HISTORY_SECONDS = 5.0
_MAX_LINE = 1024 * 1024
_RETRY_FIRST, _RETRY_LIMIT = 0.5, 10.0
_ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)

Emit = Callable[[bytes], Awaitable[None]]


class NodeEvents:
    """The events of all nodes' engines that pass a client's filters."""

    def __init__(self, context: Context, filters: Filters) -> None:
        self._context = context
        self._filters = engine_filters(filters)
        self._since: dict[str, str] = {}
        self._running: set[str] = set()
        self._warned: set[str] = set()

    async def past(self, since: float, until: float) -> list[tuple[int, bytes]]:
        """Return what the engines remember of a span of time (Unix seconds): nanoseconds and lines, in order."""
        if self._filters is None:
            return []
        query = {"since": f"{since:.9f}", "until": f"{until:.9f}", "filters": self._filters}
        with self._context.answers.sublease() as lease:
            context = msgspec.structs.replace(self._context, answers=lease)

            async def one(node_id: str) -> list[Event]:
                return _past(await ask(context, node_id, "GET", "/events", query=query, seconds=None))

            found, reasons = await ask_all(one, ready_ids(context.store.view), seconds=_HISTORY_SECONDS)
            for node_id, reason in reasons.items():
                name = node_name(self._context.store.view, node_id)
                _LOG.warning("past events of node %s are missing: %s", name, reason)
            told = [self._told(node_id, event) for node_id, events in found.items() for event in events]
        return sorted(told, key=lambda event: event[0])

    async def follow(self, since: float, emit: Emit) -> None:
        """Emit what happens from `since` on, on the nodes that are there and those that come, until cancelled."""
        if self._filters is None:
            return
        with self._context.events.follow() as cluster:
            async with asyncio.TaskGroup() as group:
                self._start(group, f"{since:.9f}", emit)
                while (event := await cluster.next()) is not None:
                    if event.kind == "node":
                        self._start(group, f"{since:.9f}", emit)

    def _start(self, group: asyncio.TaskGroup, since: str, emit: Emit) -> None:
        for node in ready_nodes(self._context.store.view):
            if node.id not in self._running:
                self._running.add(node.id)
                self._since.setdefault(node.id, since)
                group.create_task(self._node(node.id, emit), name=f"events-{node.id}")

    async def _node(self, node_id: str, emit: Emit) -> None:
        """Emit one node's events while it is ready; its engine may come and go."""
        backoff = Backoff(_RETRY_FIRST, _RETRY_LIMIT, self._context.rng)
        try:
            while is_ready(self._context.store.view.nodes.get(node_id)):
                try:
                    await self._stream(node_id, emit, backoff)
                except BadAnswer as error:
                    self._warn(node_id, error)
                except ENGINE_FAILURES as error:
                    _LOG.debug("events of node %s: %s", node_id, error)
                await asyncio.sleep(backoff.next())
        finally:
            self._running.discard(node_id)

    def _warn(self, node_id: str, error: BadAnswer) -> None:
        """Say once for each node what is wrong with its events; the others' go on."""
        if node_id not in self._warned:
            self._warned.add(node_id)
            _LOG.warning("events of node %s are missing: %s", node_name(self._context.store.view, node_id), error)

    async def _stream(self, node_id: str, emit: Emit, backoff: Backoff) -> None:
        query: Mapping[str, str] = {"since": self._since[node_id], "filters": self._filters or ""}
        url = ENGINE + engine_target(self._context, node_id, "GET", "/events", query)
        async with (
            self._context.presence.guard(self._context.store.view, node_id),
            self._context.engines.session(node_id) as session,
            session.get(url, timeout=_ENDLESS, **AS_IT_COMES) as response,
        ):
            if response.status != 200:
                raise Unavailable(f"its engine answered with status {response.status}")
            async for line in _stream_lines(response):
                nanoseconds, told = self._told(node_id, _event(line))
                backoff.reset()
                self._since[node_id] = "{}.{:09d}".format(*divmod(nanoseconds + 1, 10**9))
                await emit(told)

    def _told(self, node_id: str, event: Event) -> tuple[int, bytes]:
        """Add the node to an event."""
        actor = event["Actor"]
        node = {"node.id": node_id, "node.name": node_name(self._context.store.view, node_id)}
        told = {**event, "Actor": {**actor, "Attributes": {**(actor.get("Attributes") or {}), **node}}}
        return event["timeNano"], msgspec.json.encode(told) + b"\n"


def engine_filters(filters: Filters) -> str | None:
    """Return the filters for an engine, as JSON; None when no event of an engine can pass."""
    given = {name: values for name, values in filters.items() if values}
    types = given.pop("type", LOCAL_TYPES) & LOCAL_TYPES
    scopes = given.pop("scope", frozenset({"local"}))
    if not types or "local" not in scopes or given.keys() & _OF_THE_CLUSTER:
        return None
    return msgspec.json.encode({"type": sorted(types)} | {name: sorted(v) for name, v in given.items()}).decode()


def _past(reply: EngineReply) -> list[Event]:
    if not reply.ok:
        raise Unavailable(reply.message)
    reply.hold.charge_decoding(reply.body)
    return [_event(line) for line in reply.body.split(b"\n") if line.strip()]


def _event(line: bytes) -> Event:
    """Read one event of an engine's own.

    Raises:
        BadAnswer: it is not an event.

    """
    try:
        return read_exactly(line, Event)
    except WrongJson as error:
        raise BadAnswer(f"its engine sent an invalid event: {error}") from None


async def _stream_lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise BadAnswer("its engine sent an event without an end")
        for line in lines:
            if line.strip():
                yield line

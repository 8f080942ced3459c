"""GET /events: what happens in the cluster, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from common.errors import Unavailable
from common.model.client import Role
from manager.api.call import Call, Filters, Reply, Send, Stream
from manager.api.context import Context
from manager.api.events.engines import NodeEvents
from manager.api.events.log import Event, Follower
from manager.api.lookup import labels_match
from manager.api.router import Route

_OBJECT_FILTERS = frozenset({"config", "network", "node", "secret", "service"})
_ACCEPTED = _OBJECT_FILTERS | {"container", "daemon", "event", "image", "label", "plugin", "scope", "type", "volume"}


async def events(context: Context, call: Call) -> Reply:
    """Stream the events since `since`, and new ones until `until` or until the client goes."""
    filters = call.filters(_ACCEPTED)
    since, until = call.instant("since"), call.instant("until")
    nodes = NodeEvents(context, filters)

    async def produce(send: Send) -> None:
        with context.events.follow() as follower:
            await send(b"")  # the client sees the answer's head before the first event
            now = context.clock.now()
            if since is not None:
                for line in await _past(context, filters, nodes, since, now if until is None else min(now, until)):
                    await send(line)
            if until is None or until > now:
                await _present(follower, filters, nodes, send, now, until)

    return Stream(produce, endless=True)


async def _past(context: Context, filters: Filters, nodes: NodeEvents, since: float, until: float) -> list[bytes]:
    """Return the cluster's own events and those of all engines in a span of time, in order."""
    own = [
        (int(event.time * 1_000_000_000), event.json())
        for event in context.events.recent()
        if since <= event.time <= until and accepts(filters, event)
    ]
    return [line for _, line in sorted([*own, *await nodes.past(since, until)])]


async def _present(
    follower: Follower, filters: Filters, nodes: NodeEvents, send: Send, now: float, until: float | None
) -> None:
    """Send what happens from `now` on."""
    try:
        async with asyncio.timeout(None if until is None else until - now), asyncio.TaskGroup() as group:
            engines = group.create_task(nodes.follow(now, send), name="events-of-nodes")
            await _forward(follower, filters, send)
            engines.cancel()
    except TimeoutError:
        return  # `until` has come
    # Not an ordinary end of the stream, which a client would take for the absence of events.
    raise Unavailable("no more events come: this manager stops, or they were read too slowly; ask again, with 'since'")


async def _forward(follower: Follower, filters: Filters, send: Send) -> None:
    while (event := await follower.next()) is not None:
        if accepts(filters, event):
            await send(event.json())


def accepts(filters: Filters, event: Event) -> bool:
    """Whether an event passes the filters: of each filter one value must fit, of labels all."""
    return all(_fits(name, values, event) for name, values in filters.items() if values)


def _fits(name: str, values: Collection[str], event: Event) -> bool:
    if name == "label":
        return labels_match(event.labels, values)
    if name == "type":
        return event.kind in values
    if name == "event":
        return event.action in values
    if name == "scope":
        return "swarm" in values
    if name in _OBJECT_FILTERS:
        return event.kind == name and any(event.name == v or event.id.startswith(v) for v in values)
    return False


ROUTES = (Route("GET", "/events", events, needs=Role.VIEWER),)

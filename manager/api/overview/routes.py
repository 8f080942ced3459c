"""GET /swarm/overview and below it, /swarm/timeline, /tasks/{id}/why: the cluster at a glance, for a viewer, too.

No answer has the value of an environment variable; who changed what is told to operators and admins alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from common.aio.steady import in_pieces
from common.ids import SHORT_ID
from common.model.client import Role
from common.model.naming import Model
from manager.api.call import EVENT_STREAM, Call, Reply, Send, Stream
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.lookup import find_node, find_service, find_task
from manager.api.overview.topics import LAST_CHANGES, parse_topics
from manager.api.overview.usage import shaped
from manager.api.router import Route
from manager.overview.rows import (
    BOX_COLUMNS,
    NodeTile,
    ServiceRow,
    ServiceState,
    TaskBox,
    boxes_of_node,
    boxes_of_service,
    node_tile,
    service_row,
    waiting_boxes,
)
from manager.overview.summary import summarize
from manager.overview.timeline import PEOPLE, TOPICS, Entry, TimelineQuery, without_names
from manager.overview.why import is_to_place, why
from manager.schedule.load import ClusterLoad
from manager.store.changes import Change

MOST_OBJECTS = 64
MOST_ROWS = 200
_NUMBER = re.compile(r"[0-9]{1,15}")
_CHUNK = 100
# Others have their turn after so many rows: these are whole, and older than what changes meanwhile.
_ROWS_AT_ONCE = 200
_BOXES_AT_ONCE = 200


async def overview(context: Context, call: Call) -> Reply:
    await context.overview.ready()
    observer = context.overview
    changes = shown_entries(call, islice(observer.timeline.newest_first(TimelineQuery()), LAST_CHANGES))
    return shaped(summarize(observer.counters, context.store.view, changes, context.clock.now()))


# --- nodes, services, tasks ---


class NodeTiles(Model):
    """The tiles of all nodes, in the order in which they joined."""

    at: float
    index: int
    nodes: tuple[NodeTile, ...]


async def nodes(context: Context, _: Call) -> Reply:
    await context.overview.ready()
    now, index = context.clock.now(), context.store.view.index
    tallies, usages = context.overview.counters.nodes, context.soft.usages
    pieces = in_pieces(list(tallies.items()), _ROWS_AT_ONCE)
    found = [node_tile(tally, now, usages.host(node_id, now)) async for node_id, tally in pieces]
    tiles = tuple(tile for tile in found if tile is not None)
    return shaped(NodeTiles(at=round(now, 3), index=index, nodes=tiles))


class ServiceRows(Model):
    """A page of services, the worst first. `next` is the `after` of the next page, empty on the last."""

    at: float
    index: int
    total: int
    services: tuple[ServiceRow, ...]
    next: str = ""


async def services(context: Context, call: Call) -> Reply:
    await context.overview.ready()
    now, limit, after = context.clock.now(), number(call, "limit", MOST_ROWS), call.query.get("after", "")
    index, tallies = context.store.view.index, context.overview.counters.services
    found = [service_row(tally, now) async for tally in in_pieces(list(tallies.values()), _ROWS_AT_ONCE)]
    rows = sorted(_asked_for(call, (row for row in found if row is not None)), key=_place)
    page = [row for row in rows if _place(row) > after][: limit + 1]
    last = _place(page[limit - 1]) if len(page) > limit else ""
    return shaped(
        ServiceRows(
            at=round(now, 3),
            index=index,
            total=len(rows),
            services=tuple(page[:limit]),
            next=last,
        )
    )


def _place(row: ServiceRow) -> str:
    """Return what rows are ordered by, which is where a page begins."""
    return f"{row.state.rank} {row.name}"


def _asked_for(call: Call, rows: Iterable[ServiceRow]) -> Iterator[ServiceRow]:
    state, stack, text = (call.query.get(name, "") for name in ("state", "stack", "q"))
    states = {each for each in state.split(",") if each}
    if unknown := states - set(ServiceState):
        raise invalid(f"state={min(unknown)[:40]!r}: expected {', '.join(ServiceState)}")
    for row in rows:
        if (states and row.state not in states) or (stack and row.stack != stack):
            continue
        if text.lower() in f"{row.name} {row.image}".lower():
            yield row


class TaskBoxes(Model):
    """Boxes of tasks: an array of `TaskBox`, rows of values in the order of `columns`.

    `services` has the names of the services in them.
    """

    at: float
    index: int
    columns: tuple[str, ...]
    boxes: msgspec.Raw
    services: dict[str, str]


async def tasks(context: Context, call: Call) -> Reply:
    """Answer with the boxes of nodes, of services, or of the tasks that wait for a node.

    Others have their turn meanwhile; what changes then has a higher index than the answer.
    """
    await context.overview.ready()
    view, counters = context.store.view, context.overview.counters
    index = view.index
    nodes = [find_node(view, reference).id for reference in _references(call, "node")]
    of = [find_service(view, reference).id for reference in _references(call, "service")]
    found = _Encoded()
    for node_id in nodes:
        await found.add(boxes_of_node(node_id, counters, view))
    for service_id in of:
        await found.add(boxes_of_service(service_id, counters, view))
    if call.flag("waiting"):
        await found.add(waiting_boxes(counters))
    return shaped(
        TaskBoxes(
            at=round(context.clock.now(), 3),
            index=index,
            columns=BOX_COLUMNS,
            boxes=found.all(),
            services={
                service.id[:SHORT_ID]: service.name for service in view.services if service.id[:SHORT_ID] in found.of
            },
        )
    )


class _Encoded:
    """Boxes as JSON, made in pieces between which others have their turn; `of` are the services that they are of."""

    def __init__(self) -> None:
        self.of: set[str] = set()
        self._pieces: list[bytes] = []

    async def add(self, boxes: Iterator[TaskBox]) -> None:
        """Take in boxes. They are read a piece at a time, so that their source has to be one that stays as it is."""
        while piece := tuple(islice(boxes, _BOXES_AT_ONCE)):
            self.of.update(box.service for box in piece)
            self._pieces.append(msgspec.json.encode(piece)[1:-1])
            await asyncio.sleep(0)

    def all(self) -> msgspec.Raw:
        return msgspec.Raw(b"[" + b",".join(self._pieces) + b"]")


def _references(call: Call, name: str) -> list[str]:
    found = [each for each in call.query.get(name, "").split(",") if each]
    if len(found) > MOST_OBJECTS:
        raise invalid(f"{name} names {len(found)} objects: ask for at most {MOST_OBJECTS} at once")
    return found


# --- what happened, and why nothing does ---


class TimelinePage(Model):
    """Entries, the newest first. `next` is the `before` of the next page, 0 on the last.

    The timeline is in memory: `began` (Unix seconds) is when that was begun, at the manager's start.
    """

    began: float
    entries: tuple[Entry, ...]
    next: int = 0


async def timeline(context: Context, call: Call) -> Reply:
    topic = call.query.get("topic", "")
    if topic not in ("", PEOPLE, *TOPICS):
        raise invalid(f"topic={topic[:40]!r}: expected {', '.join((*TOPICS, PEOPLE))}")
    limit = number(call, "limit", MOST_ROWS)
    wanted = TimelineQuery(number(call, "before", 10**15, 0), call.query.get("object", ""), topic)
    found = list(islice(context.overview.timeline.newest_first(wanted), limit + 1))
    following = found[limit - 1].id if len(found) > limit else 0
    entries = shown_entries(call, found[:limit])
    page = TimelinePage(began=round(context.overview.timeline.began, 3), entries=entries, next=following)
    return shaped(page)


def shown_entries(call: Call, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return entries as their caller may see them."""
    return tuple(entries) if sees_names(call) else tuple(map(without_names, entries))


def sees_names(call: Call) -> bool:
    """Whether the caller is told who changed what."""
    return call.caller.role is not None and call.caller.role >= Role.OPERATOR


async def task_why(context: Context, call: Call) -> Reply:
    """Answer why a task has no node, by what the scheduler knows of the nodes.

    Where it does not run yet, what all tasks reserve is counted, which takes its time, in which others have theirs.
    """
    view, load = context.store.view, context.load()
    task = find_task(view, call.params["id"])
    if load is None:
        load = ClusterLoad()
        values = [*view.networks, *view.nodes, *view.attachments, *view.tasks] if is_to_place(task) else []
        async for value in in_pieces(values, _CHUNK):
            load.apply(Change(old=None, new=value))
    view = context.store.view
    return shaped(why(view.tasks.get(task.id) or task, view, load))


async def feed(context: Context, call: Call) -> Reply:
    """Answer with the events of some topics until the client leaves."""
    await context.overview.ready()
    topics = parse_topics(call.query.get("topics", ""), context.store.view)
    after = call.headers.get("last-event-id", "") or call.query.get("after", "")

    async def produce(send: Send) -> None:
        with context.feed.follow(topics, after, call.caller.key, names=sees_names(call)) as follower:
            while data := await follower.next():
                await send(data)

    return Stream(produce, content_type=EVENT_STREAM, endless=True, public=True)


def number(call: Call, name: str, most: int, default: int | None = None) -> int:
    """Read a number of the query, from 1 to `most`; where it is not given, `default`, or else the most."""
    text = call.query.get(name, "")
    if not text:
        return most if default is None else default
    if _NUMBER.fullmatch(text) is None or not int(text):
        raise invalid(f"{name}={text[:40]!r} is not a number from 1 to {most}")
    return min(int(text), most)


ROUTES = (
    Route("GET", "/swarm/overview", overview, needs=Role.VIEWER),
    Route("GET", "/swarm/overview/nodes", nodes, needs=Role.VIEWER),
    Route("GET", "/swarm/overview/services", services, needs=Role.VIEWER),
    Route("GET", "/swarm/overview/tasks", tasks, needs=Role.VIEWER),
    Route("GET", "/swarm/overview/feed", feed, needs=Role.VIEWER),
    Route("GET", "/swarm/timeline", timeline, needs=Role.VIEWER),
    Route("GET", "/tasks/{id}/why", task_why, needs=Role.VIEWER),
)

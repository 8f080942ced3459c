"""The feed's topics: each returns what has changed since it was last asked. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeAlias

import msgspec

from common.ids import SHORT_ID
from common.model.naming import Model
from manager.api.errors import invalid
from manager.api.lookup import find_node, find_service
from manager.overview.counters import Counters
from manager.overview.rows import NodeTile, ServiceRow, TaskBox, boxes_of_node, boxes_of_service, node_tile, service_row
from manager.overview.summary import Overview, summarize
from manager.overview.timeline import Entry, Timeline, TimelineQuery, without_names
from manager.overview.usage import Usages
from manager.store.view import View

# Entries of the timeline that the overview shows.
LAST_CHANGES = 10

Row: TypeAlias = NodeTile | ServiceRow


@dataclass(frozen=True, slots=True)
class Moment:
    """What a topic may use. `nodes` and `services` are those that may have changed since the last call."""

    counters: Counters
    usages: Usages
    timeline: Timeline
    view: View
    now: float
    nodes: Collection[str] = ()
    services: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class News:
    """A message as JSON: `named` says who asked for changes, `nameless` does not."""

    named: bytes
    nameless: bytes

    @classmethod
    def of(cls, value: msgspec.Struct, nameless: msgspec.Struct | None = None) -> News:
        encode = msgspec.json.Encoder().encode
        named = encode(value)
        return cls(named, named if nameless is None else encode(nameless))


class Topic(Protocol):
    """Something that can be followed."""

    def news(self, moment: Moment) -> News | None:
        """Return what has changed since the last call; None if nothing has. The first call sets the baseline."""


class ChangedRows(Model):
    """Changed rows, complete, and the ids of removed ones. `index` is the store's."""

    topic: str
    at: float
    index: int
    changed: tuple[Row, ...] = ()
    removed: tuple[str, ...] = ()


class Rows:
    """All nodes, or all services; only those that may have changed are checked."""

    def __init__(
        self, name: str, keys: Callable[[Moment], Collection[str]], row: Callable[[Moment, str], Row | None]
    ) -> None:
        self._name = name
        self._keys = keys
        self._row = row
        self._told: dict[str, Row] = {}

    def news(self, moment: Moment) -> News | None:
        changed, removed = [], []
        for key in self._keys(moment):
            row = self._row(moment, key)
            if row is None:
                removed.append(key[:SHORT_ID])
                self._told.pop(key, None)
            elif self._told.get(key) != row:
                self._told[key] = row
                changed.append(row)
        if not changed and not removed:
            return None
        at, index = round(moment.now, 3), moment.view.index
        return News.of(
            ChangedRows(topic=self._name, at=at, index=index, changed=tuple(changed), removed=tuple(removed))
        )


def _node(moment: Moment, node_id: str) -> Row | None:
    tally = moment.counters.nodes.get(node_id)
    return node_tile(tally, moment.now, moment.usages.host(node_id, moment.now)) if tally is not None else None


def _service(moment: Moment, service_id: str) -> Row | None:
    tally = moment.counters.services.get(service_id)
    return service_row(tally, moment.now) if tally is not None else None


class ChangedBoxes(Model):
    """Changed boxes of a node or a service, and the ids of the tasks whose boxes are gone.

    `row` is the node's tile or the service's row, as it is now; it is missing when that is gone.
    """

    topic: str
    at: float
    index: int
    row: Row | None = None
    changed: tuple[TaskBox, ...] = ()
    removed: tuple[str, ...] = ()


class Boxes:
    """The boxes of one node or one service."""

    def __init__(
        self,
        name: str,
        key: str,
        keys: Callable[[Moment], Collection[str]],
        row: Callable[[Moment, str], Row | None],
        boxes: Callable[[str, Counters, View], Iterable[TaskBox]],
    ) -> None:
        self._name = name
        self._key = key
        self._keys = keys
        self._row = row
        self._boxes = boxes
        self._told: dict[str, TaskBox] | None = None

    def news(self, moment: Moment) -> News | None:
        if self._told is not None and self._key not in self._keys(moment):
            return None
        now = {box.id: box for box in self._boxes(self._key, moment.counters, moment.view)}
        before, self._told = self._told, now
        if before is None:
            return None
        return News.of(
            ChangedBoxes(
                topic=self._name,
                at=round(moment.now, 3),
                index=moment.view.index,
                row=self._row(moment, self._key),
                changed=tuple(box for box in now.values() if before.get(box.id) != box),
                removed=tuple(each for each in before if each not in now),
            )
        )


class NewEntries(Model):
    """New entries of the timeline, the oldest first."""

    topic: str
    entries: tuple[Entry, ...]


class Entries:
    """The timeline."""

    def __init__(self) -> None:
        self._last: int | None = None

    def news(self, moment: Moment) -> News | None:
        last, self._last = self._last, moment.timeline.last
        entries = moment.timeline.after(last) if last is not None else ()
        if not entries:
            return None
        nameless = tuple(map(without_names, entries))
        return News.of(NewEntries(topic=TIMELINE, entries=entries), NewEntries(topic=TIMELINE, entries=nameless))


class WholeOverview(Model):
    """The complete overview."""

    topic: str
    overview: Overview


class Summary:
    """The overview; it has not changed if only time has passed."""

    def __init__(self) -> None:
        self._told: Overview | None = None
        self._last = 0

    def news(self, moment: Moment) -> News | None:
        last, self._last = self._last, moment.timeline.last
        if self._told is not None and not moment.nodes and not moment.services and last == self._last:
            return None
        changes = tuple(islice(moment.timeline.newest_first(TimelineQuery()), LAST_CHANGES))
        found = summarize(moment.counters, moment.view, changes, moment.now)
        timeless = msgspec.structs.replace(found, at=0.0, index=0)
        before, self._told = self._told, timeless
        if before is None or before == timeless:
            return None
        nameless = msgspec.structs.replace(found, changes=tuple(map(without_names, changes)))
        return News.of(WholeOverview(topic=OVERVIEW, overview=found), WholeOverview(topic=OVERVIEW, overview=nameless))


# --- by name ---

OVERVIEW, NODES, SERVICES, TIMELINE = "overview", "nodes", "services", "timeline"
MOST_TOPICS = 64


def parse_topics(text: str, view: View) -> tuple[str, ...]:
    """Read `topics=`: names with commas between. Of a node or a service it is `node:ID` or `service:ID`, or the name.

    Raises:
        EngineError: 400, there is no such topic, or there are too many; NotFound, no such node or service.

    """
    names = tuple(dict.fromkeys(each for each in text.split(",") if each))
    if not names or len(names) > MOST_TOPICS:
        raise invalid(f"topics names {len(names)} topics: name 1 to {MOST_TOPICS}")
    return tuple(dict.fromkeys(_parse(name, view) for name in names))


def _parse(name: str, view: View) -> str:
    if name in (OVERVIEW, NODES, SERVICES, TIMELINE):
        return name
    kind, _, reference = name.partition(":")
    if kind == "node" and reference:
        return f"node:{find_node(view, reference).id}"
    if kind == "service" and reference:
        return f"service:{find_service(view, reference).id}"
    known = f"{OVERVIEW}, {NODES}, {SERVICES}, {TIMELINE}, node:ID, service:ID"
    raise invalid(f"there is no topic {name[:80]!r}: expected {known}")


def topic_of(name: str) -> Topic:
    """Return the topic that `parse_topics` names."""
    kind, _, key = name.partition(":")
    if kind == "node":
        return Boxes(name, key, lambda moment: moment.nodes, _node, boxes_of_node)
    if kind == "service":
        return Boxes(name, key, lambda moment: moment.services, _service, boxes_of_service)
    return _WHOLE[name]()


_WHOLE: dict[str, Callable[[], Topic]] = {
    OVERVIEW: Summary,
    NODES: lambda: Rows(NODES, lambda moment: moment.nodes, _node),
    SERVICES: lambda: Rows(SERVICES, lambda moment: moment.services, _service),
    TIMELINE: Entries,
}

"""The timeline: what happened in the cluster, in the order in which it was stored, as sentences and as data.

It is in memory only and begins with the manager. `manager/overview/entries.py` makes the entries.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from common.model.naming import Model

KEPT = 5000
# Entries caused by one node: one with failing tasks, or that flaps, must not push out the others.
KEPT_OF_NODE = 500


class Kind(StrEnum):
    """What an entry is about."""

    SERVICE_CREATED = "service-created"
    SERVICE_CHANGED = "service-changed"
    SERVICE_REMOVED = "service-removed"
    SERVICE_SCALED = "service-scaled"
    UPDATE_STARTED = "update-started"
    UPDATE_ENDED = "update-ended"
    UPDATE_HALTED = "update-halted"
    ROLLBACK_STARTED = "rollback-started"
    TASK_FAILED = "task-failed"
    TASK_WAITS = "task-waits"
    TASK_STOPPED = "task-stopped"
    NODE_JOINED = "node-joined"
    NODE_LEFT = "node-left"
    NODE_STATE = "node-state"
    NODE_CLOCK = "node-clock"
    NODE_CHANGED = "node-changed"
    NODE_REMOVED = "node-removed"
    OBJECT_CREATED = "object-created"
    OBJECT_CHANGED = "object-changed"
    OBJECT_REMOVED = "object-removed"


class Level(StrEnum):
    """The severity of an entry. GOOD: something is as it should be again."""

    ERROR = "error"
    WARNING = "warning"
    GOOD = "good"
    INFO = "info"


class Named(Model):
    """An object: its kind (`service`, `node`, `task`, `network`, `secret`, `config`, `stack`, `cluster`), id, name."""

    kind: str
    id: str = ""
    name: str = ""


class Entry(Model, kw_only=True):
    """Something that happened `at` an instant (Unix seconds) to an `object`.

    `id` numbers the entries from 1. `text` is a sentence for a person and names nobody; `by` is who asked for it, empty
    where nobody did. `related` are other objects that it concerns: a task's service and node, a service's stack.
    """

    id: int = 0
    at: float
    kind: Kind
    level: Level = Level.INFO
    text: str
    object: Named
    related: tuple[Named, ...] = ()
    by: str = ""

    @property
    def said_by(self) -> str:
        """The id of the node whose worker reported this, or caused it; empty if no worker can."""
        if self.kind not in _OF_WORKERS:
            return ""
        return next((each.id for each in (self.object, *self.related) if each.kind == "node"), "")

    def concerns(self, reference: str) -> bool:
        """Whether it is about the object that has this name or id, or whose id begins so."""
        return any(_is_called(each, reference) for each in (self.object, *self.related))


# Entries that what a worker says may cause: of a task that is stopped, that its host has less than before.
_OF_WORKERS = frozenset({Kind.TASK_FAILED, Kind.TASK_STOPPED, Kind.NODE_LEFT, Kind.NODE_STATE, Kind.NODE_CLOCK})

_SHORTEST_PREFIX = 6


def _is_called(named: Named, reference: str) -> bool:
    if reference in (named.id, named.name):
        return True
    return len(reference) >= _SHORTEST_PREFIX and named.id.startswith(reference)


# What each topic of the timeline has: the first word of the entries' kinds.
TOPICS = {
    "tasks": ("task",),
    "nodes": ("node",),
    "services": ("service", "update", "rollback"),
    "objects": ("object",),
}
PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class TimelineQuery:
    """A query of the timeline: entries before a number, about an object, of a topic; empty fields match all."""

    before: int = 0
    reference: str = ""
    topic: str = ""

    def matches(self, entry: Entry) -> bool:
        if self.reference and not entry.concerns(self.reference):
            return False
        if self.topic == PEOPLE:
            return bool(entry.by)
        return not self.topic or entry.kind.partition("-")[0] in TOPICS[self.topic]


class Timeline:
    """The last `KEPT` entries. `last` is the number of the newest, 0 while there is none; `began` when it was begun."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.last = 0
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._said: defaultdict[str, deque[int]] = defaultdict(deque)

    def add(self, entry: Entry) -> Entry:
        """Keep an entry, under the next number."""
        self.last += 1
        numbered = msgspec.structs.replace(entry, id=self.last, at=round(entry.at, 3))
        self._entries[self.last] = numbered
        if node_id := numbered.said_by:
            self._said[node_id].append(self.last)
            if len(self._said[node_id]) > KEPT_OF_NODE:
                self._drop(self._said[node_id][0])
        if len(self._entries) > KEPT:
            self._drop(next(iter(self._entries)))
        return numbered

    def _drop(self, number: int) -> None:
        """Forget an entry, the oldest of all or of its node."""
        if node_id := self._entries.pop(number).said_by:
            self._said[node_id].popleft()
            if not self._said[node_id]:
                del self._said[node_id]

    def newest_first(self, wanted: TimelineQuery) -> Iterator[Entry]:
        """Yield the entries that match, the newest first."""
        for entry in reversed(self._entries.values()):
            if (not wanted.before or entry.id < wanted.before) and wanted.matches(entry):
                yield entry

    def after(self, number: int) -> tuple[Entry, ...]:
        """Return the entries after number `number`, the oldest first."""
        found: list[Entry] = []
        for entry in reversed(self._entries.values()):
            if entry.id <= number:
                break
            found.append(entry)
        return tuple(reversed(found))


def without_names(entry: Entry) -> Entry:
    """Return an entry that does not say who asked for it."""
    return msgspec.structs.replace(entry, by="") if entry.by else entry

"""The cluster's recent events, and those who follow them. Fed by one task that watches the store.

Each is a change of the store, as the engine would tell it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from common.clock import Clock
from common.model import Config, Network, Node, Secret, Service, StoredObject
from manager.store.changes import Change
from manager.store.store import Records
from manager.store.watch import Lagged

_LOG = logging.getLogger(__name__)

# As many as the engine keeps for `since`.
HISTORY = 256
FOLLOWER_CAPACITY = 4096


class Follower:
    """One listener's queue. One that falls `FOLLOWER_CAPACITY` events behind is cut off: it ends after what it has."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(FOLLOWER_CAPACITY + 1)
        self._open = True

    def put(self, event: Event) -> None:
        if self._open and self._queue.qsize() < FOLLOWER_CAPACITY:
            self._queue.put_nowait(event)
        else:
            self.end()

    def end(self) -> None:
        if self._open:
            self._open = False
            self._queue.put_nowait(None)

    async def next(self) -> Event | None:
        """Return the next event, None at the end."""
        return await self._queue.get()


class EventLog:
    """Events since the manager's start, the last `HISTORY` of them."""

    def __init__(self) -> None:
        self._recent: deque[Event] = deque(maxlen=HISTORY)
        self._followers: set[Follower] = set()

    def add(self, event: Event) -> None:
        self._recent.append(event)
        for follower in self._followers:
            follower.put(event)

    def recent(self) -> tuple[Event, ...]:
        return tuple(self._recent)

    @property
    def listeners(self) -> int:
        return len(self._followers)

    @contextmanager
    def follow(self) -> Iterator[Follower]:
        """Hear of all events from now on."""
        follower = Follower()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def end(self) -> None:
        """Let every follower's stream end."""
        for follower in self._followers:
            follower.end()

    async def run(self, store: Records, clock: Clock) -> None:
        """Turn the store's changes into events until cancelled."""
        with store.watch() as subscription:
            while True:
                try:
                    batch = await subscription.next()
                except Lagged:
                    _LOG.warning("events were lost: the store changed faster than they could be sent")
                    continue
                for change_set in batch:
                    for change in change_set.changes:
                        self._tell(change, clock.now())

    def _tell(self, change: Change, now: float) -> None:
        try:
            event = event_of(change, now)
        except Exception:  # noqa: BLE001 - a bug with one change must not end the manager; it is logged whole
            _LOG.exception("cannot describe the change of %s to clients: an event is lost", change.current.id)
            return
        if event is not None:
            self.add(event)


_KINDS: Mapping[type[StoredObject], str] = {
    Config: "config",
    Network: "network",
    Node: "node",
    Secret: "secret",
    Service: "service",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `labels` are the object's, for filters alone, `time` is Unix seconds."""

    kind: str
    action: str
    id: str
    name: str
    attributes: Mapping[str, str]
    labels: Mapping[str, str]
    time: float

    def json(self) -> bytes:
        """Encode the event as a line of the event stream."""
        nanoseconds = int(self.time * 1_000_000) * 1000
        value: dict[str, Any] = {
            "Type": self.kind,
            "Action": self.action,
            "Actor": {"ID": self.id, "Attributes": {"name": self.name, **self.attributes}},
            "scope": "swarm",
            "time": int(self.time),
            "timeNano": nanoseconds,
        }
        return msgspec.json.encode(value) + b"\n"


def event_of(change: Change, now: float) -> Event | None:
    """Return the event that a change is for clients; None for what they hear nothing of (tasks, inner bookkeeping)."""
    current = change.current
    kind = _KINDS.get(type(current))
    action = _action(change)
    if kind is None or not action:
        return None
    assert isinstance(current, Config | Network | Node | Secret | Service)
    time = now if change.new is None else current.updated_at
    return Event(kind, action, current.id, current.name, _attributes(change), current.spec.labels, time)


def _action(change: Change) -> str:
    if change.old is None:
        return "create"
    if change.new is None:
        already = isinstance(change.old, Service) and change.old.pending_delete
        return "" if already else "remove"
    if isinstance(change.old, Service) and isinstance(change.new, Service):
        return _service_action(change.old, change.new)
    if isinstance(change.old, Node) and isinstance(change.new, Node):
        return "update" if _visible(change.old) != _visible(change.new) else ""
    return "update"


def _service_action(old: Service, new: Service) -> str:
    """Return a service's action: for clients it is gone when its deletion begins."""
    if new.pending_delete:
        return "" if old.pending_delete else "remove"
    return "update"


def _visible(node: Node) -> tuple[object, ...]:
    return node.spec, node.description, node.status, node.manager_status


def _attributes(change: Change) -> dict[str, str]:
    old, new = change.old, change.new
    result: dict[str, str] = {}
    if isinstance(old, Service) and isinstance(new, Service):
        _differ(result, "image", _image(old), _image(new))
        _differ(result, "replicas", _replicas(old), _replicas(new))
        _differ(result, "updatestate", _update_state(old), _update_state(new))
        if (scaled := new.autoscale_status) is not None and scaled != old.autoscale_status and scaled.message:
            result["autoscale"] = scaled.message
    elif isinstance(old, Node) and isinstance(new, Node):
        _differ(result, "state", old.status.state, new.status.state)
        _differ(result, "availability", old.spec.availability, new.spec.availability)
        _differ(result, "role", old.spec.role, new.spec.role)
    return result


def _differ(result: dict[str, str], name: str, old: str, new: str) -> None:
    if old != new:
        result.update({f"{name}.{age}": value for age, value in (("new", new), ("old", old)) if value})


def _image(service: Service) -> str:
    container = service.spec.task_template.container_spec
    return container.image if container is not None else ""


def _replicas(service: Service) -> str:
    replicated = service.spec.mode.replicated
    return str(replicated.replicas) if replicated is not None else ""


def _update_state(service: Service) -> str:
    return service.update_status.state if service.update_status is not None else ""

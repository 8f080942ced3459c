"""The cluster's recent events, and those who follow them. Fed by one task that watches the store."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from common.clock import Clock
from manager.api.events.view import Event, event_of
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

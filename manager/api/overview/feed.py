"""The feed: changes of the overview as server-sent events; each is made once for all followers.

Nothing is computed without followers. A follower that reads too slowly gets `reset` in place of what was lost, and must
ask again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from common.clock import Clock
from manager.api.overview.observer import Observer
from manager.api.overview.topics import Moment, News, Topic, topic_of
from manager.overview.usage import Usages
from manager.store.store import Records

_LOG = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.25
# How often is checked what changes with time only, such as the number of failures in the last hour.
REFRESH_SECONDS = 5.0
BEAT_SECONDS = 5.0
MOST_UNREAD = 1 << 20
KEPT_BYTES = 1 << 20
# For so many seconds without followers missed events can still be resumed.
LINGER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Message:
    """An event that was sent; `number` is its place among all."""

    number: int
    topic: str
    news: News


class Follower:
    """One reader's unread events. `names`: whether it sees who asked for changes."""

    def __init__(self, topics: Collection[str], *, names: bool) -> None:
        self.topics = frozenset(topics)
        self._names = names
        self._unread: deque[bytes] = deque()
        self._size = 0
        self._filled = asyncio.Event()
        self._open = True

    def tell(self, epoch: str, message: Message) -> None:
        data = message.news.named if self._names else message.news.nameless
        self.put(event(message.topic, data, f"{epoch}-{message.number}"))

    def put(self, data: bytes) -> None:
        """Add an event; beyond `MOST_UNREAD` unread bytes all are dropped and replaced by a `reset`."""
        if self._size + len(data) > MOST_UNREAD:
            self._unread.clear()
            self._size = 0
            data = reset(self.topics)
        self._unread.append(data)
        self._size += len(data)
        self._filled.set()

    def end(self) -> None:
        self._open = False
        self._filled.set()

    async def next(self) -> bytes:
        """Wait for events and return all waiting ones; empty at the end of the stream."""
        await self._filled.wait()
        self._filled.clear()
        data = b"".join(self._unread)
        self._unread.clear()
        self._size = 0
        if not self._open:
            self._filled.set()
        return data


@dataclass(slots=True)
class _Followed:
    """A followed topic: `since` which event number it is complete, `wanted_at` when it last had a follower."""

    topic: Topic
    since: int
    wanted_at: float


class Feed:
    """Makes the events and distributes them. `run` must be running while there are followers."""

    def __init__(self, observer: Observer, usages: Usages, store: Records, clock: Clock) -> None:
        self._observer = observer
        self._usages = usages
        self._store = store
        self._clock = clock
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._topics: dict[str, _Followed] = {}
        self._followers: set[Follower] = set()
        self._sent: deque[Message] = deque()
        self._sent_bytes = 0
        self._wanted = asyncio.Event()

    @property
    def followers(self) -> int:
        return len(self._followers)

    @contextmanager
    def follow(self, topics: Collection[str], after: str, *, names: bool) -> Iterator[Follower]:
        """Follow all changes in `topics` from now on, and those since the event `after`."""
        now = self._clock.now()
        for name in topics:
            if name not in self._topics:
                topic = topic_of(name)
                topic.news(self._moment(now))  # what there is already is asked for by other routes
                self._topics[name] = _Followed(topic, self._number, now)
        follower = Follower(topics, names=names)
        follower.put(event("hello", msgspec.json.encode({"Topics": sorted(topics)}), f"{self._epoch}-{self._number}"))
        self._resume(follower, after)
        self._followers.add(follower)
        self._wanted.set()
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def end(self) -> None:
        """End every follower's stream."""
        for follower in self._followers:
            follower.end()

    def _resume(self, follower: Follower, after: str) -> None:
        """Send what has happened since an event, or `reset` if that is no longer known."""
        if not after:
            return
        epoch, _, text = after.partition("-")
        last = int(text) if epoch == self._epoch and text.isdecimal() and len(text) < _LONGEST_NUMBER else -1
        oldest = self._sent[0].number if self._sent else self._number + 1
        complete = max(self._topics[name].since for name in follower.topics)
        if not max(complete, oldest - 1) <= last <= self._number:
            follower.put(reset(follower.topics))
            return
        for message in self._sent:
            if message.number > last and message.topic in follower.topics:
                follower.tell(self._epoch, message)

    async def run(self) -> None:
        """Make events while there are followers, until cancelled."""
        while True:
            await self._wanted.wait()
            refreshed = beaten = self._clock.now()
            while self._topics:
                now = self._clock.now()
                self._observer.look()
                if now - refreshed >= REFRESH_SECONDS:
                    refreshed = now
                    self._observer.counters.refresh()
                self._tell(now)
                if now - beaten >= BEAT_SECONDS:
                    beaten = now
                    self._beat(now)
                self._forget(now)
                await asyncio.sleep(INTERVAL_SECONDS)
            self._wanted.clear()

    def _moment(self, now: float) -> Moment:
        observer = self._observer
        counters = observer.counters
        nodes, services = {**counters.touched_nodes, **self._usages.news}, tuple(counters.touched_services)
        return Moment(counters, self._usages, observer.timeline, self._store.view, now, tuple(nodes), services)

    def _tell(self, now: float) -> None:
        """Send what has changed since the last call; nothing while the counters are being rebuilt."""
        if not self._observer.counts:
            return
        moment = self._moment(now)
        moment.counters.touched_nodes.clear()
        self._usages.news.clear()
        moment.counters.touched_services.clear()
        for name, followed in self._topics.items():
            try:
                news = followed.topic.news(moment)
            except Exception:  # noqa: BLE001 - a bug with one topic must not end the others; it is logged whole
                _LOG.exception("the feed cannot tell of %s", name)
                continue
            if news is not None:
                self._send(name, news)

    def _send(self, name: str, news: News) -> None:
        self._number += 1
        message = Message(self._number, name, news)
        self._sent.append(message)
        self._sent_bytes += len(news.named)
        while self._sent_bytes > KEPT_BYTES:
            self._sent_bytes -= len(self._sent.popleft().news.named)
        for follower in self._followers:
            if name in follower.topics:
                follower.tell(self._epoch, message)

    def _beat(self, now: float) -> None:
        """Send a heartbeat, so that followers see that the manager is alive."""
        data = event("beat", msgspec.json.encode({"At": round(now, 3)}), f"{self._epoch}-{self._number}")
        for follower in self._followers:
            follower.put(data)

    def _forget(self, now: float) -> None:
        """Drop topics that nobody has followed for a while."""
        for follower in self._followers:
            for name in follower.topics:
                self._topics[name].wanted_at = now
        for name in [name for name, each in self._topics.items() if now - each.wanted_at > LINGER_SECONDS]:
            del self._topics[name]


_LONGEST_NUMBER = 16


def event(name: str, data: bytes, event_id: str = "") -> bytes:
    """Return a server-sent event."""
    head = f"id: {event_id}\nevent: {name}\n" if event_id else f"event: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def reset(topics: Collection[str]) -> bytes:
    """Return the event that tells to ask for these topics again."""
    return event("reset", msgspec.json.encode({"Topics": sorted(topics)}))

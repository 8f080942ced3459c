"""The feed: changes of the overview as server-sent events; each is made once for all followers.

Nothing is computed without followers. A follower that reads too slowly gets `reset` in place of what was lost, and must
ask again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque
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
# Of all streams together: one client may have 256.
MOST_UNREAD_IN_ALL = 32 << 20
# So much, or one event, is given to a connection at a time, which cannot be taken back.
_PIECE = 64 << 10
KEPT_BYTES = 1 << 20
# For so many seconds without followers missed events can still be resumed.
LINGER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Message:
    """An event that was sent; `number` is its place among all."""

    number: int
    topic: str
    news: News


class Followers:
    """All readers, and what they have not read: where that is too much, the client with the most loses some.

    So one that reads nothing on all its connections takes a bounded amount, and costs nobody else an event.
    """

    def __init__(self) -> None:
        self.all: set[Follower] = set()
        self.unread = 0
        self._by_client: Counter[str] = Counter()

    def discard(self, follower: Follower) -> None:
        self.all.discard(follower)
        self.count(follower.client, -follower.unread)

    def count(self, client: str, more: int) -> None:
        """Take note of so many bytes that a client has to read, or has no longer."""
        self.unread += more
        self._by_client[client] += more
        if not self._by_client[client]:
            del self._by_client[client]

    def limit(self) -> None:
        """Let the fullest stream of the client with the most lose what it has not read, if all have too much."""
        if self.unread > MOST_UNREAD_IN_ALL:
            heaviest = max(self._by_client, key=self._by_client.__getitem__)
            max((each for each in self.all if each.client == heaviest), key=lambda each: each.unread).lose()


class Follower:
    """One reader's unread events. `names`: whether it sees who asked for changes."""

    def __init__(self, topics: Collection[str], client: str, others: Followers, *, names: bool) -> None:
        self.topics = frozenset(topics)
        self.client = client
        self.unread = 0
        self._names = names
        self._others = others
        self._unread: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self._open = True

    def tell(self, epoch: str, message: Message) -> None:
        data = message.news.named if self._names else message.news.nameless
        self.put(event(message.topic, data, f"{epoch}-{message.number}"))

    def put(self, data: bytes) -> None:
        """Add an event; beyond `MOST_UNREAD` unread bytes, or where all have too many, `lose`."""
        if self.unread + len(data) > MOST_UNREAD:
            self.lose()
            return
        self._add(data)
        self._others.limit()

    def lose(self) -> None:
        """Drop all unread events, and say so by a `reset`."""
        self._unread.clear()
        self._count(-self.unread)
        self._add(reset(self.topics))

    def end(self) -> None:
        self._open = False
        self._filled.set()

    async def next(self) -> bytes:
        """Wait for events and return waiting ones, not many at once; empty at the end of the stream."""
        await self._filled.wait()
        pieces = []
        size = 0
        while self._unread and size < _PIECE:
            pieces.append(self._unread.popleft())
            size += len(pieces[-1])
        self._count(-size)
        if self._open and not self._unread:
            self._filled.clear()
        return b"".join(pieces)

    def _add(self, data: bytes) -> None:
        self._unread.append(data)
        self._count(len(data))
        self._filled.set()

    def _count(self, more: int) -> None:
        self.unread += more
        self._others.count(self.client, more)


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
        self._followers = Followers()
        self._sent: deque[Message] = deque()
        self._sent_bytes = 0
        self._wanted = asyncio.Event()

    @property
    def followers(self) -> int:
        return len(self._followers.all)

    @contextmanager
    def follow(self, topics: Collection[str], after: str, client: str, *, names: bool) -> Iterator[Follower]:
        """Follow all changes in `topics` from now on, and those since the event `after`, for a client (its key)."""
        now = self._clock.now()
        for name in topics:
            if name not in self._topics:
                topic = topic_of(name)
                topic.news(self._moment(now))  # what there is already is asked for by other routes
                self._topics[name] = _Followed(topic, self._number, now)
        follower = Follower(topics, client, self._followers, names=names)
        self._followers.all.add(follower)
        self._wanted.set()
        try:
            hello = msgspec.json.encode({"Topics": sorted(topics)})
            follower.put(event("hello", hello, f"{self._epoch}-{self._number}"))
            self._resume(follower, after)
            yield follower
        finally:
            self._followers.discard(follower)

    def end(self) -> None:
        """End every follower's stream."""
        for follower in self._followers.all:
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
        for follower in self._followers.all:
            if name in follower.topics:
                follower.tell(self._epoch, message)

    def _beat(self, now: float) -> None:
        """Send a heartbeat, so that followers see that the manager is alive."""
        data = event("beat", msgspec.json.encode({"At": round(now, 3)}), f"{self._epoch}-{self._number}")
        for follower in self._followers.all:
            follower.put(data)

    def _forget(self, now: float) -> None:
        """Drop topics that nobody has followed for a while."""
        for follower in self._followers.all:
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

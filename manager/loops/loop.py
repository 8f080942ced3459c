"""The one loop that every decider runs in: changes mark keys dirty, a transaction decides them, timers bring them back.

The decider runs inside the transaction that commits its decision: it sees the newest state and never conflicts.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol, TypeAlias

from common.aio.steady import PAUSE_SECONDS
from common.clock import CLOCK_CHECK_SECONDS, Clock
from common.errors import Unavailable
from common.model import StoredObject
from manager.store.changes import Change, Decision
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.view import View
from manager.store.watch import Lagged, Subscription

Decide: TypeAlias = Callable[[View, Collection[str], float, random.Random], Decision]

RETRY_SECONDS = 1.0
# A transaction decides fewer keys if it takes long: meanwhile nothing else happens, not even a sign of life.
_FIRST_KEYS = 2
_FAST_SECONDS, _LONG_SECONDS = 0.02, 0.1
# Stands for all keys; no key has this name.
_EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """How a decider is woken: by the `keys` of a change, by `all_keys` in a full pass, at most `limit` at a time.

    `kinds` are those of the objects whose changes may have keys; it does not see other changes.
    """

    name: str
    kinds: tuple[type[StoredObject], ...]
    keys: Callable[[Change, View], Iterable[str]]
    all_keys: Callable[[View], Iterable[str]]
    decide: Decide
    limit: int = 200


class LoopMetrics(Protocol):
    """Receives how a rule's decisions go. `seconds` is what one took, without the disk."""

    def decided(self, rule: str, seconds: float) -> None: ...

    def decide_failed(self, rule: str) -> None: ...

    def fell_behind(self, watcher: str) -> None: ...


class NoMetrics:
    """Discards everything."""

    def decided(self, rule: str, seconds: float) -> None:
        """Do nothing."""

    def decide_failed(self, rule: str) -> None:
        """Do nothing."""

    def fell_behind(self, watcher: str) -> None:
        """Do nothing."""


class Alarms:
    """The instants at which keys want to be decided again; only a key's earliest counts."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __contains__(self, key: str) -> bool:
        return key in self._due

    def set(self, wake_at: Mapping[str, float]) -> None:
        for key, instant in wake_at.items():
            if instant < self._due.get(key, float("inf")):
                self._due[key] = instant
                heapq.heappush(self._heap, (instant, key))

    def take(self, now: float) -> list[str]:
        """Remove and return the keys that are due."""
        keys = []
        while self._heap and self._heap[0][0] <= now:
            instant, key = heapq.heappop(self._heap)
            if self._due.get(key) == instant:
                del self._due[key]
                keys.append(key)
        return keys

    def delay(self, now: float) -> float | None:
        """Return the seconds until the next alarm, or until the clock is checked again; None without an alarm."""
        return min(max(0.0, self._heap[0][0] - now), CLOCK_CHECK_SECONDS) if self._heap else None


class Loop:
    """Runs one decider over the store until cancelled."""

    def __init__(
        self, rule: Rule, store: Store, clock: Clock, rng: random.Random, metrics: LoopMetrics | None = None
    ) -> None:
        self._rule = rule
        self._metrics = metrics or NoMetrics()
        self._store = store
        self._clock = clock
        self._rng = rng
        self._log = logging.getLogger(f"manager.loops.{rule.name}")
        self._dirty: dict[str, None] = {}
        self._pass: dict[str, None] = {}  # keys that the present pass over everything has not reached
        self._changed_first = False
        self._alarms = Alarms()
        self._keys_at_once = min(_FIRST_KEYS, rule.limit)

    async def run(self) -> None:
        """Decide everything once, which makes up for what an earlier leader missed, then follow the changes."""
        with self._store.watch(kinds=self._rule.kinds) as changes:
            self._dirty[_EVERYTHING] = None
            while True:
                await self._settle(changes)
                await self._follow_changes(changes)

    async def _follow_changes(self, changes: Subscription) -> None:
        """Wait for changes or the next alarm, and mark what they concern."""
        delay = self._alarms.delay(self._clock.now())
        if delay is None:
            await self._mark(changes)
            return
        with contextlib.suppress(TimeoutError):  # an alarm may be due: it is handled below
            async with asyncio.timeout(delay):
                await self._mark(changes)
        self._dirty.update(dict.fromkeys(self._alarms.take(self._clock.now())))

    async def _mark(self, changes: Subscription) -> None:
        await changes.filled()
        self._mark_changed(changes)

    def _mark_changed(self, changes: Subscription) -> None:
        """Mark what all waiting changes concern."""
        try:
            batch = changes.take()
        except Lagged:
            self._metrics.fell_behind(self._rule.name)
            self._log.warning("%s fell behind the changes: deciding everything again", self._rule.name)
            self._dirty[_EVERYTHING] = None
            return
        for change_set in batch:
            for change in change_set.changes:
                self._mark_concerned(change)

    def _mark_concerned(self, change: Change) -> None:
        """Mark the keys of a change. If a bug prevents that, all keys are marked soon."""
        try:
            self._dirty.update(dict.fromkeys(self._rule.keys(change, self._store.view)))
        except Exception:  # noqa: BLE001 - a bug with one change must not keep others from being followed
            if _EVERYTHING in self._alarms:
                return
            words = "%s cannot tell what the change of %s concerns: deciding everything again in %g s"
            self._log.exception(words, self._rule.name, change.current.id, PAUSE_SECONDS)
            self._alarms.set({_EVERYTHING: self._clock.now() + PAUSE_SECONDS})

    async def _settle(self, changes: Subscription) -> None:
        """Decide what is dirty, some keys a transaction, until nothing is.

        Changes during a pass over everything do not wait for its end.
        """
        while self._dirty or self._pass:
            if _EVERYTHING in self._dirty:
                async with self._store.turn():
                    self._pass.update(dict.fromkeys(self._rule.all_keys(self._store.view)))
                del self._dirty[_EVERYTHING]
                continue
            keys = self._next_keys()
            try:
                await self._decide(keys)
            except Unavailable as error:
                self._log.error("%s could not store its decision: %s", self._rule.name, error.message)
                self._alarms.set(dict.fromkeys(keys, self._clock.now() + RETRY_SECONDS))
            except Exception:  # noqa: BLE001 - one by one, the faulty key is found and logged
                await self._isolate(keys)
            if self._pass:
                self._mark_changed(changes)

    def _next_keys(self) -> list[str]:
        """Take the keys to decide next: changed keys and those of the pass take turns."""
        self._changed_first = not self._changed_first
        first, then = (self._dirty, self._pass) if self._changed_first else (self._pass, self._dirty)
        keys = list(islice(chain(first, (key for key in then if key not in first)), self._keys_at_once))
        for key in keys:
            self._dirty.pop(key, None)
            self._pass.pop(key, None)
        return keys

    async def _decide(self, keys: Collection[str]) -> None:
        loop = asyncio.get_running_loop()

        def step(tx: Transaction) -> tuple[Decision, float]:
            began, began_of_loop = time.perf_counter(), loop.time()
            # Not the time of the request: the commit before may have taken long.
            decision = self._rule.decide(tx, keys, tx.now, self._rng)
            tx.apply(decision)
            self._metrics.decided(self._rule.name, time.perf_counter() - began)
            self._pace(loop.time() - began_of_loop)
            return decision, tx.now

        decision, now = await self._store.update(step)
        for reason in decision.reasons:
            self._log.info("%s", reason)
        self._alarms.set(decision.wake_at)
        self._dirty.update(dict.fromkeys(self._alarms.take(now)))

    def _pace(self, seconds: float) -> None:
        """Adapt the number of keys per decision to how long the last one took."""
        if seconds > _LONG_SECONDS:
            self._keys_at_once = max(1, self._keys_at_once // 2)
        elif seconds < _FAST_SECONDS:
            self._keys_at_once = min(self._rule.limit, self._keys_at_once * 2)

    async def _isolate(self, keys: Collection[str]) -> None:
        """Let a decider's bug hold up only the keys that show it: those are logged and tried again later."""
        for key in keys:
            try:
                await self._decide([key])
            except Unavailable:
                self._dirty[key] = None
            except Exception:  # noqa: BLE001 - a bug in one decision must not end the loop; it is logged whole
                self._metrics.decide_failed(self._rule.name)
                self._log.exception("%s cannot decide %r: trying again later", self._rule.name, key)
                self._alarms.set({key: self._clock.now() + PAUSE_SECONDS})

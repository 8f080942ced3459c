"""Keeps the overview up to date with the store: one asyncio task, which follows every change.

The timeline gets all changes. Tasks are counted while a client looks at the overview, and for a while after: the next
one waits until all are counted again, in pieces between which other tasks have their turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from common.clock import Clock
from common.model import StoredObject, Task
from manager.metrics.instruments import Instruments
from manager.overview.counters import Counters
from manager.overview.entries import entries_of, is_silent
from manager.overview.past import GrantedRequest, entries_of_past, entries_of_requests, gone_of, in_order, short_since
from manager.overview.timeline import Entry, Timeline
from manager.store.changes import Change, ChangeSet
from manager.store.store import Records
from manager.store.watch import Lagged, Subscription

_LOG = logging.getLogger(__name__)
# Objects that are counted, or changes that are applied, before other tasks have their turn: 1 or 2 ms of work.
CHUNK = 100
# Seconds for which tasks are counted after the last look, so that Prometheus, which looks now and then, need not wait.
IDLE_SECONDS = 600.0


class Observer:
    """The counters and the timeline. `counters` are complete once `ready` was awaited, `timeline` always.

    `asked` reads earlier requests from the audit log; it is called once, in a thread.
    """

    def __init__(
        self,
        store: Records,
        clock: Clock,
        instruments: Instruments,
        asked: Callable[[], Sequence[GrantedRequest]] = lambda: (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._instruments = instruments
        self._asked = asked
        self._changes: Subscription | None = None
        self._whole = asyncio.Event()
        self._looked_at = clock.now()  # after a start a client will look soon
        self.counters = Counters(store.view)
        self.timeline = Timeline(clock.now())

    @property
    def counts(self) -> bool:
        """Whether `counters` are up to date with the store."""
        return self._whole.is_set()

    def look(self) -> None:
        """Count tasks from now on, until nobody has looked for `IDLE_SECONDS`."""
        self._looked_at = self._clock.now()
        if not self.counts and self._changes is not None:
            self._changes.wake()

    async def ready(self) -> None:
        """Look, and wait until everything is counted."""
        self.look()
        await self._whole.wait()

    async def run(self) -> None:
        """Follow changes until cancelled."""
        with self._store.watch() as self._changes:
            self._whole.clear()
            if not self.timeline.last:
                await self._remember()
            self._changes.wake()  # somebody may have looked meanwhile
            while True:
                try:
                    change_sets = await self._changes.next()
                    counting = None if self.counts or not self._is_looked_at() else self._found()
                    for change_set in change_sets:
                        await self.take_in(change_set)
                except Lagged:
                    self._instruments.fell_behind("overview")
                    _LOG.warning("the overview fell behind the changes: counting everything again")
                    self._whole.clear()
                    counting = self._found() if self._is_looked_at() else None
                if counting is not None:
                    await self._count(counting)
                elif self.counts and not self._is_looked_at():
                    self._whole.clear()
                    self.counters = Counters(self._store.view)

    def _is_looked_at(self) -> bool:
        return self._clock.now() - self._looked_at <= IDLE_SECONDS

    async def _remember(self) -> None:
        """Start the timeline with what is known of the past."""
        view = self._store.view
        values = self._found()
        values += (*view.networks, *view.secrets, *view.configs)
        asked = await asyncio.to_thread(self._asked)
        gone = gone_of(asked, view)
        entries: list[Entry] = []
        for start in range(0, len(asked), CHUNK):
            entries += entries_of_requests(asked[start : start + CHUNK], gone, view)
            await asyncio.sleep(0)
        for start in range(0, len(values), CHUNK):
            entries += entries_of_past(values[start : start + CHUNK], view)
            await asyncio.sleep(0)
        for number, entry in enumerate(await asyncio.to_thread(in_order, entries, asked), 1):
            self.timeline.add(entry)
            if number % CHUNK == 0:
                await asyncio.sleep(0)

    def _found(self) -> list[StoredObject]:
        """Return what is counted as it is now; later changes follow through the subscription."""
        view = self._store.view
        return [*view.nodes, *view.services, *view.tasks]

    async def _count(self, values: Sequence[StoredObject]) -> None:
        counters = Counters(self._store.view)
        for start in range(0, len(values), CHUNK):
            counters.begin(values[start : start + CHUNK])
            await asyncio.sleep(0)
        for number, tally in enumerate(counters.services.values(), 1):
            if tally.short_since:
                tally.short_since = short_since(tally, self._store.view)
            if number % CHUNK == 0:
                await asyncio.sleep(0)
        self.counters = counters
        self._whole.set()

    async def take_in(self, change_set: ChangeSet) -> None:
        """Add changes to the timeline, and count them while a client looks."""
        now, counters = self._clock.now(), self.counters if self.counts else None
        for number, change in enumerate(change_set.changes, 1):
            try:
                self._hear(change, now, change_set.by, counters)
            except Exception:  # noqa: BLE001 - a bug with one change must not end the manager; it is logged whole
                _LOG.exception("the overview is not right about %s: a change of it was not counted", change.current.id)
            if number % CHUNK == 0:
                await asyncio.sleep(0)

    def _hear(self, change: Change, now: float, by: str, counters: Counters | None) -> None:
        if counters is not None:
            counters.apply(change, now)
        old, new = change.old, change.new
        if isinstance(old, Task) and isinstance(new, Task):
            before, after = old.restart, new.restart
            if after is not before and after.running_since > before.running_since:  # by the manager's clock
                self._instruments.task_ran(max(0.0, after.running_since - new.created_at))
            if is_silent(old, new):
                return
        for entry in entries_of(change, self._store.view, now, by):
            self.timeline.add(entry)

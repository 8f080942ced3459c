"""Keeps the overview up with the store: one task, which takes in every change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from common.clock import Clock
from common.model import StoredObject, Task
from manager.metrics.instruments import Instruments
from manager.overview.counters import Counters
from manager.overview.entries import entries_of
from manager.overview.timeline import Timeline
from manager.store.changes import Change, ChangeSet
from manager.store.store import Records
from manager.store.watch import Lagged

_LOG = logging.getLogger(__name__)
# Changes that are taken in before others have their turn: a few milliseconds' work.
CHUNK = 500


class Observer:
    """The counters and the timeline. `counters` are whole when `ready` has been awaited, `timeline` always."""

    def __init__(self, store: Records, clock: Clock, instruments: Instruments) -> None:
        self._store = store
        self._clock = clock
        self._instruments = instruments
        self._whole = asyncio.Event()
        self.counters = Counters(store.view)
        self.timeline = Timeline(clock.now())

    async def ready(self) -> None:
        """Wait until all that was there at the start has been counted."""
        await self._whole.wait()

    async def run(self) -> None:
        """Take in changes until cancelled."""
        with self._store.watch() as changes:
            await self._start_over()
            while True:
                try:
                    for change_set in await changes.next():
                        await self._take_in(change_set)
                except Lagged:
                    self._instruments.fell_behind("overview")
                    _LOG.warning("the overview fell behind the changes: counting everything again")
                    await self._start_over()

    async def _start_over(self) -> None:
        """Count what there is. What changes meanwhile is heard of afterwards: the values were read in one breath."""
        self._whole.clear()
        view = self._store.view
        counters = Counters(view)
        values: Sequence[StoredObject] = [*view.nodes, *view.services, *view.tasks]
        for start in range(0, len(values), CHUNK):
            counters.begin(values[start : start + CHUNK])
            await asyncio.sleep(0)
        self.counters = counters
        self._whole.set()

    async def _take_in(self, change_set: ChangeSet) -> None:
        now, view = self._clock.now(), self._store.view
        for number, change in enumerate(change_set.changes, 1):
            try:
                self.counters.apply(change, now)
                self._time(change)
                for entry in entries_of(change, view, now, change_set.by):
                    self.timeline.add(entry)
            except Exception:  # noqa: BLE001 - a bug with one change must not end the manager; it is logged whole
                _LOG.exception("the overview is not right about %s: a change of it was not counted", change.current.id)
            if number % CHUNK == 0:
                await asyncio.sleep(0)

    def _time(self, change: Change) -> None:
        """Measure how long a task that came to run took for it, by the manager's clock."""
        old, new = change.old, change.new
        if isinstance(old, Task) and isinstance(new, Task) and new.restart.running_since > old.restart.running_since:
            self._instruments.task_ran(max(0.0, new.restart.running_since - new.created_at))

"""Storage that managers share, as little as there can be of it: one log in memory, and who may append to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from common.clock import LoopClock
from common.errors import Unavailable
from common.model import StoredObject
from manager.store.backend import Deposed, Followed, FollowedCommit, FollowedLeader, Gap, LeaderRecord, Loaded, Removal
from manager.store.changes import ChangeSet
from manager.store.shared import SharedStore


class SharedLog:
    """What was ever stored, in order. `forgotten` entries can only be had by loading."""

    def __init__(self) -> None:
        self.entries: list[Followed] = []
        self.forgotten = 0
        self.record: LeaderRecord | None = None
        self.appended = asyncio.Event()

    def append(self, entry: Followed) -> None:
        self.entries.append(entry)
        self.appended.set()
        self.appended = asyncio.Event()


class LogBackend:
    """One manager's end of it. What is asked next raises `failure`, once: undone, or with `stored` when it is done.

    `unreadable`, where set, is why nothing can be loaded.
    """

    def __init__(self, log: SharedLog) -> None:
        self._log = log
        self._seen = 0
        self._own: LeaderRecord | None = None
        self.failure: Exception | None = None
        self.unreadable = ""
        self.stored = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.waits = asyncio.Event()  # a commit, or a load, has come to the gate

    def close_gate(self) -> None:
        self.gate.clear()
        self.waits.clear()

    async def load(self) -> Loaded:
        self.waits.set()
        await self.gate.wait()
        if self.unreadable:
            raise Unavailable(self.unreadable)
        objects: dict[tuple[type, str], StoredObject] = {}
        index = 0
        for entry in self._log.entries:
            if isinstance(entry, FollowedLeader):
                continue
            index = entry.index
            for each in entry.changes:
                if isinstance(each, Removal):
                    objects.pop((each.kind, each.id), None)
                else:
                    objects[type(each), each.id] = each
        self._seen = len(self._log.entries)
        return Loaded(index, tuple(objects.values()), self._log.record)

    async def followed(self) -> AsyncGenerator[Followed, None]:
        while True:
            while self._seen < len(self._log.entries):
                if self._seen < self._log.forgotten:
                    raise Gap("forgotten")
                self._seen += 1
                yield self._log.entries[self._seen - 1]
            await self._log.appended.wait()

    def share_of_commit(self, change_set: ChangeSet) -> float:
        return len(change_set.changes) / 1_000

    async def claim(self, record: LeaderRecord) -> bool:
        self._fail(stored=False)
        if self._seen != len(self._log.entries):
            return False
        self._put(record)
        self._own = record
        return True

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        self.waits.set()
        await self.gate.wait()
        last: dict[tuple[type, str], StoredObject | Removal] = {}
        for change in (change for each in change_sets for change in each.changes):
            key = (type(change.current), change.current.id)
            last[key] = change.new if change.new is not None else Removal(*key)
        self._append(FollowedCommit(change_sets[-1].index, tuple(last.values())))

    async def beat(self) -> None:
        index = next((each.index for each in reversed(self._log.entries) if isinstance(each, FollowedCommit)), 0)
        self._append(FollowedCommit(index, ()))

    async def show_life(self) -> None:
        """Come no further than a commit at the gate: who is silent is so in all."""
        await self.gate.wait()

    async def resign(self) -> None:
        assert self._own is not None
        self._put(msgspec.structs.replace(self._own, vacant=True))

    async def close(self) -> None:
        """Keep everything, for the others."""

    def _append(self, entry: Followed) -> None:
        self._fail(stored=False)
        if self._own != self._log.record:
            raise Deposed("another manager leads: nothing of this was stored")
        self._log.append(entry)
        failed, self.stored = self.stored, False
        if failed:
            self._fail(stored=True)
        self._seen = len(self._log.entries)

    def _put(self, record: LeaderRecord) -> None:
        self._log.record = record
        self._log.append(FollowedLeader(record))
        self._seen = len(self._log.entries)

    def _fail(self, *, stored: bool) -> None:
        failure = self.failure
        if failure is not None and (stored or not self.stored):
            self.failure = None
            raise failure


@asynccontextmanager
async def shared_stores(count: int) -> AsyncIterator[tuple[SharedStore, ...]]:
    """Open the stores of so many managers that share one log."""
    log, time = SharedLog(), asyncio.get_running_loop().time
    async with AsyncExitStack() as stack:
        stores = (SharedStore(LogBackend(log), LoopClock(), time) for _ in range(count))
        yield tuple([await stack.enter_async_context(each) for each in stores])

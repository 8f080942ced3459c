"""The store of one of several managers: it follows what the leader commits, or leads itself.

Whichever it does, it has the same state at the same index, and watchers hear the same changes. What a leader could not
find out about its last commit, it hears when it follows again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Self, get_args

import msgspec

from common.aio.steady import PAUSE_SECONDS
from common.clock import Clock, SteadyClock, boot_time
from common.errors import SwarmError, Unavailable
from common.model import Service, StoredObject
from common.process.memory import without_collecting
from manager.store.backend import (
    Epoch,
    Followed,
    FollowedLeader,
    Gap,
    LeaderRecord,
    LeadershipLost,
    Loaded,
    NotLeader,
    Removal,
    SharedBackend,
)
from manager.store.changes import Change, ChangeSet
from manager.store.sharing import Sharing
from manager.store.store import Store
from manager.store.writer import Writer

# So that a silence of a second and more is none by chance.
BEAT_SECONDS = 0.25
_LOAD_AGAIN_SECONDS = 1.0
# A commit of so many changes takes several times as long as one of a few: signs of life go with it at once.
_LARGE_COMMIT = 100

_log = logging.getLogger(__name__)


class SharedStore(Store):
    """A store that follows from `load` on, leads from `lead` until that is lost or given up, and follows again.

    `elapsed` counts seconds that no change of a clock touches, those of a suspended machine included.
    """

    def __init__(self, backend: SharedBackend, clock: Clock, elapsed: Callable[[], float] = boot_time) -> None:
        self._steady = SteadyClock(clock)
        super().__init__(backend, self._steady)
        self._shared = _Confirming(backend, elapsed, self._tell_heard)
        self._elapsed = elapsed
        self._using = asyncio.Lock()
        self._sharing = Sharing()
        self._record: LeaderRecord | None = None
        self._moved = asyncio.Event()
        self._heard = asyncio.Event()
        self._moved_at = elapsed()
        self._newest = 0.0
        self._following: asyncio.Task[None] | None = None

    @property
    def record(self) -> LeaderRecord | None:
        """The last claim to leadership that was seen, whatever became of it; None when nobody has led yet."""
        return self._record

    @property
    def leader(self) -> LeaderRecord | None:
        return None if self._record is None or self._record.vacant or self.has_led else self._record

    @property
    def has_led(self) -> bool:
        """Whether this manager has led by `record` and does not any more."""
        claimed = self._shared.claimed
        return not self.leads and claimed is not None and self.epoch == claimed.epoch

    @property
    def epoch(self) -> Epoch:
        """The leadership that the state here is of."""
        return self._record.epoch if self._record is not None else Epoch()

    @property
    def moved_at(self) -> float:
        """When something was last heard of the leader, by `elapsed`."""
        return self._moved_at

    @property
    def confirmed_at(self) -> float | None:
        """When that was sent which the storage confirmed last, by `elapsed`; None where another manager leads."""
        return self._shared.confirmed_at if self.leads else None

    @property
    def shown_at(self) -> float | None:
        """When that was sent which last showed the others that this manager leads: as `confirmed_at`, or later.

        Beside a commit that takes long, signs of life are sent.
        """
        return max(self._shared.confirmed_at, self._shared.shown_at) if self.leads else None

    async def load(self) -> None:
        """Read the backend and begin to follow.

        Raises:
            Unavailable: the backend cannot be read.
            UnknownLevel: this release is too old for it.

        """
        with without_collecting():
            loaded = await self._shared.load()
            for value in loaded.objects:
                self._put(value, None)
        self._take(loaded.index, ())
        self._note(loaded.leader)
        self._follow()

    async def close(self) -> None:
        self._closed = True
        await self._end_writing()
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await super().close()

    async def __aenter__(self) -> Self:
        try:
            return await super().__aenter__()
        except BaseException:
            await self._shared.close()
            raise

    def moved(self) -> Coroutine[Any, Any, object]:
        """Wait until the leadership changes or ends here, after this call; where nobody leads, until anything is heard.

        A leader that shows only that it lives wakes nobody: who waits for its silence looks at `moved_at`.
        """
        return self._moved.wait()

    def heard(self) -> Coroutine[Any, Any, object]:
        """Wait until the leader is heard of, if only that it lives, or this manager is sure again that it leads."""
        return self._heard.wait()

    async def lead(self, record: LeaderRecord) -> bool:
        """Claim the leadership; return whether it is had, and updates are taken from now on.

        Raises:
            Unavailable: the storage did not answer; follow on, and claim again.

        """
        judged = self._record, self._moved_at
        async with self._using:
            # While it waited for what was being loaded, another manager may have had the epoch that it claims.
            if (self._record, self._moved_at) != judged or not await self._shared.claim(record):
                return False
            if self._following is not None:
                self._following.cancel()
            self._note(record)
            self._steady.not_before(self._newest)
            beat, store = self._shared.beat, self._shared
            self._begin_writing(
                Writer(store, self._tables, self._clock, self._publish, beat=beat, beat_seconds=BEAT_SECONDS)
            )
        return True

    async def step_down(self) -> None:
        """End leading at once. Whoever waits for an update does not know what became of it."""
        await self._end_writing()

    async def resign(self) -> None:
        """Store what waits, and give the leadership up so that another manager has it at once."""
        if self._writer is not None and self._writing is not None:
            self._writer.finish(lambda: NotLeader(None))
            await asyncio.wait([self._writing])

    async def _breathe(self) -> None:
        """Let the others hear that this manager leads, where the writer has not come to that for a while."""
        await asyncio.sleep(0)
        if self.shown_at is not None and self._elapsed() - self.shown_at > BEAT_SECONDS:
            await self._shared.send_sign()

    def _refusal(self) -> Unavailable:
        return super()._refusal() if self._closed or self._following is None else NotLeader(self.leader)

    async def _write(self, writer: Writer) -> None:
        try:
            await writer.run()
            await self._hand_over()
        except LeadershipLost as error:
            _log.warning("this manager no longer leads: %s", error.message)
        finally:
            self._written(writer)

    def _writer_ended(self) -> None:
        if not self._closed:
            self._follow()
        self._note(self._record)
        self._leadership_moved()

    async def _hand_over(self) -> None:
        """Say that there is no leader."""
        assert self._record is not None
        self._record = msgspec.structs.replace(self._record, vacant=True)
        try:
            await self._shared.resign()
        except Unavailable as error:
            _log.warning("the other managers will notice by themselves that this one has stopped: %s", error.message)

    # --- following ---

    def _follow(self) -> None:
        self._following = asyncio.create_task(self._follow_all(), name="store-following")

    async def _follow_all(self) -> None:
        """Follow for ever. What cannot be followed is loaded; a bug is logged, and all is loaded after a pause."""
        while True:
            try:
                async with contextlib.aclosing(self._shared.followed()) as followed:
                    async for each in followed:
                        self._apply(each)
            except Gap as gap:
                _log.warning("loading the store again: %s", gap)
            except SwarmError as error:  # what is there cannot be read, by this release perhaps
                _log.error("cannot follow the leader: %s", error.message)
            except Exception:  # noqa: BLE001 - a manager that follows no more would mislead whoever asks it
                _log.exception("a bug: cannot follow the leader: loading all in %g s", PAUSE_SECONDS)
                await asyncio.sleep(PAUSE_SECONDS)
            await self._load_again()

    async def _load_again(self) -> None:
        """Load, however long that takes; why it cannot be is logged when it changes."""
        said = ""
        while True:
            try:
                async with self._using:
                    loaded = await self._shared.load()
                    break
            except SwarmError as error:
                if error.message != said:
                    _log.error("cannot load the store: %s: trying again each %g s", error.message, _LOAD_AGAIN_SECONDS)
                said = error.message
                await asyncio.sleep(_LOAD_AGAIN_SECONDS)
        self._replace(loaded)

    def _apply(self, followed: Followed) -> None:
        if isinstance(followed, FollowedLeader):
            self._note(followed.record)
            return
        changes = tuple(change for each in followed.changes if (change := self._change(each)) is not None)
        self._take(followed.index, changes, followed.by)
        self._note(self._record)

    def _replace(self, loaded: Loaded) -> None:
        """Bring memory to what was loaded; for watchers that is one set of changes."""
        found = {(type(value), value.id) for value in loaded.objects}
        gone = [
            Removal(kind, value.id)
            for kind in get_args(StoredObject)
            for value in self._tables.of(kind)
            if (kind, value.id) not in found
        ]
        changes = (self._change(each) for each in (*gone, *loaded.objects))
        self._take(loaded.index, tuple(change for change in changes if change is not None))
        self._note(loaded.leader)

    def _change(self, each: StoredObject | Removal) -> Change | None:
        """Change memory; return how, None when it is so already."""
        if isinstance(each, Removal):
            table = self._tables.of(each.kind)
            old = table.get(each.id)
            table.discard(each.id)
            if each.kind is Service:
                self._sharing.forget(each.id)
            return None if old is None else Change(old, None)
        table = self._tables.of(type(each))
        old = table.get(each.id)
        if old == each:
            return None
        self._put(each, old)
        return Change(old, each)

    def _put(self, value: StoredObject, old: StoredObject | None) -> None:
        """Have in memory what was read."""
        self._tables.of(type(value)).put(self._sharing.share(value, old))
        self._newest = max(self._newest, value.updated_at)

    def _take(self, index: int, changes: Sequence[Change], by: str = "") -> None:
        self._tables.index = index
        self._publish([ChangeSet(index, tuple(changes), by)] if changes else [])

    def _note(self, record: LeaderRecord | None) -> None:
        """Note that the leader lives, and wake who waits for what is new in that."""
        lives_on = record == self._record and record is not None and not record.vacant
        self._record = record
        self._moved_at = self._elapsed()
        self._tell_heard()
        if not lives_on:
            self._leadership_moved()

    def _tell_heard(self) -> None:
        self._heard.set()
        self._heard = asyncio.Event()

    def _leadership_moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


class _Confirming:
    """A shared backend that notes when that was sent which was confirmed last, and shows life beside long commits.

    `sure_again` is called when something is confirmed after a while without.
    """

    def __init__(self, backend: SharedBackend, elapsed: Callable[[], float], sure_again: Callable[[], None]) -> None:
        self._backend = backend
        self._elapsed = elapsed
        self._sure_again = sure_again
        self.confirmed_at = self.shown_at = elapsed()
        self.claimed: LeaderRecord | None = None
        self.load = backend.load
        self.followed = backend.followed
        self.share_of_commit = backend.share_of_commit
        self.resign = backend.resign
        self.close = backend.close

    async def claim(self, record: LeaderRecord) -> bool:
        sent_at = self._elapsed()
        if not await self._backend.claim(record):
            return False
        self.confirmed_at, self.claimed = sent_at, record
        return True

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        sent_at = self._elapsed()
        is_large = sum(len(each.changes) for each in change_sets) >= _LARGE_COMMIT
        showing = asyncio.create_task(self._show_life(0.0 if is_large else BEAT_SECONDS), name="signs-of-life")
        try:
            await self._backend.commit(change_sets)
        finally:
            showing.cancel()
        self._confirm(sent_at)

    async def _show_life(self, delay: float) -> None:
        """Show the others that this manager leads, until cancelled: beside a long commit they hear nothing else.

        None waits for the one before, as an answer may take longer than the time between them.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(delay)
                group.create_task(self.send_sign())
                delay = BEAT_SECONDS

    async def send_sign(self) -> None:
        sent_at = self._elapsed()
        with contextlib.suppress(Unavailable):  # what becomes of the commit says who leads
            await self._backend.show_life()
            self.shown_at = max(self.shown_at, sent_at)

    async def beat(self) -> None:
        sent_at = self._elapsed()
        await self._backend.beat()
        self._confirm(sent_at)

    def _confirm(self, sent_at: float) -> None:
        late = sent_at - self.confirmed_at > 2 * BEAT_SECONDS
        self.confirmed_at = sent_at
        if late:
            self._sure_again()

"""The store of one of several managers: it follows the leader's commits, or leads itself.

Either way it has the same state at the same index, and watchers get the same changes. If a leader could not find out
whether its last commit was stored, it sees that when it follows again.
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
from manager.store.interning import Interner
from manager.store.store import Store
from manager.store.writer import Writer

# Short enough that a silence of a second or more is not a coincidence.
BEAT_SECONDS = 0.25
_LOAD_AGAIN_SECONDS = 1.0
# A commit of so many changes takes several times as long as a small one: signs of life are sent from its start.
_LARGE_COMMIT = 100

_log = logging.getLogger(__name__)


class SharedStore(Store):
    """A store that follows since `load`, leads from `lead` until it loses the leadership or resigns, and follows again.

    `elapsed` counts seconds, those of a suspended machine included, whatever happens to the clock.
    """

    def __init__(self, backend: SharedBackend, clock: Clock, elapsed: Callable[[], float] = boot_time) -> None:
        self._steady = SteadyClock(clock)
        super().__init__(backend, self._steady)
        self._shared = _ConfirmingBackend(backend, elapsed, self._wake_heard)
        self._elapsed = elapsed
        self._using = asyncio.Lock()
        self._interner = Interner()
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
        """Whether this manager has led by `record` and no longer does."""
        claimed = self._shared.claimed
        return not self.leads and claimed is not None and self.epoch == claimed.epoch

    @property
    def epoch(self) -> Epoch:
        """The leadership that the state here is of."""
        return self._record.epoch if self._record is not None else Epoch()

    @property
    def moved_at(self) -> float:
        """When the leader last showed a sign of life, by `elapsed`."""
        return self._moved_at

    @property
    def confirmed_at(self) -> float | None:
        """When the last confirmed commit was sent, by `elapsed`; None while another manager leads."""
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

        Signs of life of the leader wake nobody: who waits for its silence checks `moved_at`.
        """
        return self._moved.wait()

    def heard(self) -> Coroutine[Any, Any, object]:
        """Wait until the leader shows a sign of life, or this manager is sure again that it leads."""
        return self._heard.wait()

    async def lead(self, record: LeaderRecord) -> bool:
        """Claim the leadership; return whether that worked, and updates are taken from now on.

        Raises:
            Unavailable: the storage did not answer; follow on, and claim again.

        """
        judged = self._record, self._moved_at
        async with self._using:
            # While this waited for a load, another manager may have claimed the same epoch.
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
        """Stop leading at once. Callers that wait for an update do not learn its outcome."""
        await self._end_writing()

    async def resign(self) -> None:
        """Store what waits, and resign so that another manager leads at once."""
        if self._writer is not None and self._writing is not None:
            self._writer.finish(lambda: NotLeader(None))
            await asyncio.wait([self._writing])

    async def _yield_turn(self) -> None:
        """Yield to other tasks, and send a sign of life if the writer has not done so for a while."""
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
        self._wake_leadership()

    async def _hand_over(self) -> None:
        """Record that the leadership is vacant."""
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
        """Follow for ever. After a gap everything is loaded; after a bug, which is logged, likewise after a pause."""
        while True:
            try:
                async with contextlib.aclosing(self._shared.followed()) as followed:
                    async for each in followed:
                        self._apply(each)
            except Gap as gap:
                _log.warning("loading the store again: %s", gap)
            except SwarmError as error:  # the store cannot be read, perhaps by this release only
                _log.error("cannot follow the leader: %s", error.message)
            except Exception:  # noqa: BLE001 - a manager that no longer follows would mislead its clients
                _log.exception("a bug: cannot follow the leader: loading all in %g s", PAUSE_SECONDS)
                await asyncio.sleep(PAUSE_SECONDS)
            await self._load_again()

    async def _load_again(self) -> None:
        """Load, however long that takes; the reason why it fails is logged when it changes."""
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
        """Replace the state by what was loaded; watchers get that as one set of changes."""
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
        """Apply a followed change to the state; return it, None if nothing changes."""
        if isinstance(each, Removal):
            table = self._tables.of(each.kind)
            old = table.get(each.id)
            table.discard(each.id)
            if each.kind is Service:
                self._interner.forget(each.id)
            return None if old is None else Change(old, None)
        table = self._tables.of(type(each))
        old = table.get(each.id)
        if old == each:
            return None
        self._put(each, old)
        return Change(old, each)

    def _put(self, value: StoredObject, old: StoredObject | None) -> None:
        """Put an object that was read into the state."""
        self._tables.of(type(value)).put(self._interner.intern(value, old))
        self._newest = max(self._newest, value.updated_at)

    def _take(self, index: int, changes: Sequence[Change], by: str = "") -> None:
        self._tables.index = index
        self._publish([ChangeSet(index, tuple(changes), by)] if changes else [])

    def _note(self, record: LeaderRecord | None) -> None:
        """Note a sign of life of the leader, and wake those who wait for it or for another leader."""
        lives_on = record == self._record and record is not None and not record.vacant
        self._record = record
        self._moved_at = self._elapsed()
        self._wake_heard()
        if not lives_on:
            self._wake_leadership()

    def _wake_heard(self) -> None:
        self._heard.set()
        self._heard = asyncio.Event()

    def _wake_leadership(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


class _ConfirmingBackend:
    """A shared backend that notes when the last confirmed commit was sent, and sends signs of life during long commits.

    `confirmed_again` is called when something is confirmed after a longer silence.
    """

    def __init__(
        self, backend: SharedBackend, elapsed: Callable[[], float], confirmed_again: Callable[[], None]
    ) -> None:
        self._backend = backend
        self._elapsed = elapsed
        self._confirmed_again = confirmed_again
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
        """Send signs of life until cancelled: during a long commit the others see nothing else.

        They do not wait for each other, as an answer may take longer than the interval.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(delay)
                group.create_task(self.send_sign())
                delay = BEAT_SECONDS

    async def send_sign(self) -> None:
        sent_at = self._elapsed()
        with contextlib.suppress(Unavailable):  # the outcome of the commit shows who leads
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
            self._confirmed_again()

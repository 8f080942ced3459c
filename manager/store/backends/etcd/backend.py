"""The backend that managers share: their store in etcd.

Every commit is conditional on the leader's record and on the commit before it, so who is wrong about leading cannot
write, and whoever claims the leadership has, at that instant, all there is. An answer that does not come is asked for
by sending the same transaction again: it is stored once at most, and the answer says whether it was.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import secrets
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from common.errors import Unavailable
from common.process.memory import without_collecting
from manager.store.backend import (
    Deposed,
    Followed,
    FollowedCommit,
    FollowedLeader,
    Gap,
    LeaderRecord,
    Loaded,
    Unknown,
)
from manager.store.backends.etcd.api import (
    Compacted,
    Compare,
    Delete,
    Etcd,
    Get,
    NoAnswer,
    Operation,
    Outcome,
    Page,
    Put,
    Refused,
    Revision,
    Transaction,
)
from manager.store.backends.etcd.layout import Layout, Loading, Position
from manager.store.backends.sealed import Seal
from manager.store.changes import ChangeSet
from manager.store.levels import NEWEST_LEVEL

# A commit of so many took 40 to 58 ms; a larger one would keep the leader silent for too long.
_CHANGES_OF_COMMIT = 1_000
_BYTES_OF_COMMIT = 1 << 20
# The largest decisions are of 1,000 objects; then there are specifications, the position, and what is rewritten.
OPERATIONS_NEEDED = 1_200
_PAGE = 5_000
# Other work goes on after so many objects are decoded: some 15 ms.
_PART = 1_000
_READ_SECONDS = 10.0
_AGAIN_SECONDS = 0.05
# What each attempt at a commit of the largest size may take longer than the one before, as a multiple of what an empty
# one may take: with a fifteenth of two processors 1,000 objects took 1.3 s, and 200 took 0.4 s.
_LARGEST_TIMES = 4.0
# A commit that is not stored for so long never is, however well its leader is.
_LONGEST_SECONDS = 10.0
_NONCE_BYTES = 8
_LOOK = "look, then repeat it"
_NOT_LEADING = "this manager does not lead: nothing of this was stored"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempts:
    """In seconds: how long an answer to one attempt to write is waited for, and to all of them.

    Both for small ones: a larger commit has longer for an attempt, and for all while signs of life are confirmed.
    """

    one: float = 0.4
    all: float = 2.0


# For etcd that others run, which may take longer to elect.
EXTERNAL_ATTEMPTS = Attempts(one=0.7, all=3.2)


@dataclass(slots=True)
class _Seen:
    """What was last seen in etcd. `leader` and `position` are the revisions that wrote these keys."""

    revision: int = 0
    leader: int = 0
    position: int = 0
    index: int = 0


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A leadership of this manager: its record, and `fence`, the revision that wrote it and must still be the last."""

    record: LeaderRecord
    fence: int


class EtcdBackend:
    """One manager's end of the store of a cluster."""

    def __init__(
        self,
        etcd: Etcd,
        cluster_id: str,
        seal: Seal,
        attempts: Attempts | None = None,
        *,
        newest_level: int = NEWEST_LEVEL,
    ) -> None:
        self._etcd = etcd
        self._layout = Layout(cluster_id, seal, newest_level)
        self._attempts = attempts or Attempts()
        self._seen = _Seen()
        self._own: _Claimed | None = None
        self._shown_at = -math.inf

    async def try_limits(self) -> None:
        """Check that etcd takes a transaction as large as a commit; nothing is written.

        Raises:
            Unavailable: it does not; the message says what to start it with.

        """
        never = Compare(self._layout.format, -1)
        puts = (Put(self._layout.format + str(number).encode(), b"\0" * 256) for number in range(OPERATIONS_NEEDED))
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await self._etcd.transact(Transaction(compare=(never,), success=tuple(puts)))
        except TimeoutError:
            raise NoAnswer("etcd does not answer within 10 s") from None
        except Refused as error:
            raise Unavailable(
                f"this etcd does not take changes of {OPERATIONS_NEEDED} objects in one transaction ({error.message}): "
                "start it with --max-txn-ops=20000 --max-request-bytes=33554432"
            ) from error

    async def load(self) -> Loaded:
        loading = Loading(self._layout)
        revision = 0
        with without_collecting():
            async with aclosing(self._pages()) as pages:
                async for page in pages:
                    revision = revision or page.revision
                    for start in range(0, len(page.found), _PART):
                        loading.take(page.found[start : start + _PART])
                        await asyncio.sleep(0)
        loading.end()
        layout, seen = self._layout, self._seen
        leader, last = loading.leader, loading.position
        position = layout.read_position(last.value) if last is not None else None
        seen.leader, seen.position = (each.mod if each is not None else 0 for each in (leader, last))
        seen.revision, seen.index = revision, position.index if position is not None else 0
        return Loaded(seen.index, loading.objects, layout.read_leader(leader.value) if leader is not None else None)

    async def _pages(self) -> AsyncGenerator[Page, None]:
        """Yield everything, as of the revision of the first page. While one is used, etcd prepares the next."""
        ranges = iter(self._layout.ranges())
        first, end = next(ranges)
        reading = asyncio.create_task(self._page(first, end, 0))
        try:
            page = await reading
            revision = page.revision
            while True:
                if page.more:
                    first = page.found[-1].key + b"\0"
                elif (following := next(ranges, None)) is not None:
                    first, end = following
                else:
                    break
                reading = asyncio.create_task(self._page(first, end, revision))
                yield page
                page = await reading
            yield page
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _page(self, first: bytes, end: bytes, revision: int) -> Page:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                return await self._etcd.read(first, end, limit=_PAGE, revision=revision)
        except TimeoutError:
            raise NoAnswer("etcd does not answer: a majority of the managers' hosts must be up") from None

    async def followed(self) -> AsyncGenerator[Followed, None]:
        reachable = True
        while True:
            try:
                async with aclosing(self._etcd.watch(self._layout.prefix, self._seen.revision + 1)) as revisions:
                    async for revision in revisions:
                        reachable = True
                        for each in self._follow(revision):
                            yield each
            except Compacted as error:
                raise Gap(error.message) from error
            except NoAnswer as error:
                if reachable:
                    _log.warning("not following the leader just now: %s", error.message)
                reachable = False
                await asyncio.sleep(_AGAIN_SECONDS)

    def _follow(self, revision: Revision) -> Iterator[Followed]:
        """Note a revision as seen, and tell what it is."""
        if revision.number <= self._seen.revision:
            return
        layout, seen = self._layout, self._seen
        changes = layout.changes(revision.changes)  # what cannot be read is not seen: nobody leads from there
        values = {each.key: each.value for each in revision.changes if isinstance(each, Put)}
        by = ""
        if layout.position in values:
            position = layout.read_position(values[layout.position])
            seen.position, seen.index, by = revision.number, position.index, position.by
        seen.revision = revision.number
        if layout.leader in values:
            seen.leader = revision.number
            yield FollowedLeader(layout.read_leader(values[layout.leader]))
        if changes or layout.position in values or layout.alive in values:
            yield FollowedCommit(seen.index, changes, by)

    def share_of_commit(self, change_set: ChangeSet) -> float:
        size = self._layout.size(change_set) / _BYTES_OF_COMMIT
        return max(size, len(change_set.changes) / _CHANGES_OF_COMMIT)

    async def claim(self, record: LeaderRecord) -> bool:
        seen = self._seen
        outcome, _ = await self._ask_again(self._conditional(seen.leader, [self._layout.put_leader(record)]))
        if outcome.succeeded:
            revision = outcome.revision
        else:
            leader, _ = outcome.found
            if leader is None or self._layout.read_leader(leader.value) != record:
                return False
            revision = leader.mod  # an attempt that was not answered was stored
        seen.revision = seen.leader = revision
        self._own = _Claimed(record, revision)
        return True

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        asked = {each.by for each in change_sets}
        by = asked.pop() if len(asked) == 1 else ""
        await self._write(change_sets[-1].index, change_sets, by)

    async def beat(self) -> None:
        await self._write(self._seen.index, (), "")

    async def show_life(self) -> None:
        own = self._own
        if own is None:
            raise Deposed(_NOT_LEADING)
        sent_at = asyncio.get_running_loop().time()
        sign = Transaction(
            compare=(Compare(self._layout.leader, own.fence),), success=(self._layout.put_alive(own.record.epoch),)
        )
        try:
            async with asyncio.timeout(self._attempts.all):
                outcome = await self._etcd.transact(sign)
        except TimeoutError:
            raise NoAnswer(f"etcd has not answered for {self._attempts.all:g} s") from None
        if not outcome.succeeded:
            raise Deposed("another manager leads now")
        self._shown_at = max(self._shown_at, sent_at)

    async def _write(self, index: int, change_sets: Sequence[ChangeSet], by: str) -> None:
        """Write changes and the new position.

        Raises:
            Deposed: another manager leads, and nothing was stored.
            Unknown: it may be stored.
            Unavailable: etcd refuses it, and nothing was stored.

        """
        own = self._own
        if own is None:
            raise Deposed(_NOT_LEADING)
        position = Position(index, own.record.epoch, secrets.token_bytes(_NONCE_BYTES), by)
        commit = self._layout.commit(change_sets, _CHANGES_OF_COMMIT)
        write = self._conditional(own.fence, [self._layout.put_position(position), *commit.operations])
        outcome, sure = await self._ask_again(write)
        revision = outcome.revision if outcome.succeeded else self._stored_at(outcome, position, sure=sure)
        self._layout.stored(commit)
        self._seen = _Seen(revision, self._seen.leader, revision, index)

    def _stored_at(self, outcome: Outcome, position: Position, *, sure: bool) -> int:
        """Return the revision of a commit that an attempt without an answer has stored."""
        leader, last = outcome.found
        if last is not None and self._layout.read_position(last.value).nonce == position.nonce:
            return last.mod
        if not sure:
            raise Unknown(f"change {position.index} was not confirmed, and may or may not be stored: {_LOOK}")
        if leader is not None and self._own is not None and leader.mod == self._own.fence:
            raise Deposed("the store was changed in etcd by something that is not this manager: nothing was stored")
        raise Deposed("another manager leads now: nothing of this was stored; send it there")

    async def resign(self) -> None:
        own, self._own = self._own, None
        if own is None:
            return
        vacant = msgspec.structs.replace(own.record, vacant=True)
        outcome, _ = await self._ask_again(self._conditional(own.fence, [self._layout.put_leader(vacant)]))
        if outcome.succeeded:
            self._seen.revision = self._seen.leader = outcome.revision

    async def close(self) -> None:
        await self._etcd.close()

    def _conditional(self, leader: int, operations: Sequence[Put | Delete]) -> Transaction:
        """Do something if the leader's record is of a revision and nothing was committed; else read what is there."""
        layout = self._layout
        return Transaction(
            compare=(Compare(layout.leader, leader), Compare(layout.position, self._seen.position)),
            success=tuple(operations),
            failure=(Get(layout.leader), Get(layout.position)),
        )

    async def _ask_again(self, transaction: Transaction) -> tuple[Outcome, bool]:
        """Send a transaction until it is answered; return also whether no attempt before went without an answer.

        Raises:
            Unknown: it was not answered in time.
            Refused: etcd does not do it.

        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        longer = self._attempts.one * _LARGEST_TIMES * min(1.0, _share(transaction.success))
        sure = True
        for attempt in itertools.count(1):
            try:
                return await self._attempt(transaction, began, self._attempts.one + attempt * longer), sure
            except (TimeoutError, NoAnswer):
                sure = False
            except Refused as error:
                if sure:
                    raise
                raise Unknown(f"{error.message}; whether it was stored before is not known: {_LOOK}") from error
            if loop.time() >= self._deadline(began) - _AGAIN_SECONDS:
                raise Unknown(
                    f"etcd has not answered for {loop.time() - began:.1f} s: this may or may not be stored: {_LOOK}"
                )
            await asyncio.sleep(_AGAIN_SECONDS)
        raise AssertionError("the last attempt raises")

    async def _attempt(self, transaction: Transaction, began: float, seconds: float) -> Outcome:
        """Send a transaction, first sent when it `began`, once more, and wait for its answer, so long at most.

        Raises:
            TimeoutError: there was none in time.

        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        sending = asyncio.ensure_future(self._etcd.transact(transaction))
        try:
            # The deadline moves while signs of life are confirmed.
            while not sending.done() and (left := min(until, self._deadline(began)) - loop.time()) > 0:
                await asyncio.wait({sending}, timeout=left)
            if not sending.done():
                raise TimeoutError
            return sending.result()
        finally:
            sending.cancel()

    def _deadline(self, began: float) -> float:
        """Return until when an answer is waited for to what was first sent when it `began`."""
        return min(max(began, self._shown_at) + self._attempts.all, began + _LONGEST_SECONDS)


def _share(operations: Sequence[Operation]) -> float:
    """Return which part of the largest useful commit these are."""
    size = sum(len(each.value) for each in operations if isinstance(each, Put))
    return max(size / _BYTES_OF_COMMIT, len(operations) / _CHANGES_OF_COMMIT)

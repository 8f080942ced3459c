"""A model of etcd: one log of revisions, members that have come so far in it, and all that goes wrong with them.

What it does to a request is drawn from `rng` by `Faults`. A transaction that was sent goes its own way: that its caller
gives up changes nothing of what becomes of it, as with the real one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass

from manager.store.backends.etcd.api import (
    Compacted,
    Compare,
    Delete,
    Get,
    KeyValue,
    NoAnswer,
    Operation,
    Outcome,
    Page,
    Put,
    Refused,
    Revision,
    Transaction,
    end_of,
)

# etcd answers a request that it cannot decide after 5 s and two elections, and ends a watch without a leader sooner.
UNDECIDED_SECONDS = 6.0
WATCH_SECONDS = 2.1


@dataclass(slots=True)
class Faults:
    """Parts of the requests that meet each; delays in seconds, drawn up to these.

    `slow`: what each operation of a transaction takes, always. `lost`: never arrives. `unanswered`: done, without an
    answer. `late`: done after up to `late_seconds`. `stale`: a read shows the state of up to `stale_revisions` before.
    """

    delay: float = 0.0
    slow: float = 0.0
    lag: float = 0.0
    lost: float = 0.0
    unanswered: float = 0.0
    late: float = 0.0
    late_seconds: float = 2.0
    stale: float = 0.0
    stale_revisions: int = 3


@dataclass(slots=True)
class FakeMember:
    """A member: `up` or not, `cut` off from the others, `paused`: all it does waits."""

    name: str
    up: bool = True
    cut: bool = False
    paused: bool = False

    @property
    def working(self) -> bool:
        return self.up and not self.cut and not self.paused


class FakeEtcd:
    """The cluster. `applied` hears of each transaction that changed something, in order, before anybody else does."""

    def __init__(self, names: Iterable[str], rng: random.Random, faults: Faults | None = None) -> None:
        self.members = {name: FakeMember(name) for name in names}
        self.faults = faults or Faults()
        self.applied: Callable[[Transaction, Revision], None] = lambda _, __: None
        self.revision = 1
        self.compacted = 0
        self.electing = False
        self.changed = asyncio.Event()
        self._rng = rng
        self._values: dict[bytes, KeyValue] = {}
        self._history: list[Revision] = []
        self._sent: set[asyncio.Task[Outcome]] = set()

    def client(self, name: str) -> FakeClient:
        return FakeClient(self, self.members[name])

    # --- what goes wrong ---

    def set_member(self, name: str, *, up: bool = True, cut: bool = False, paused: bool = False) -> None:
        member = self.members[name]
        member.up, member.cut, member.paused = up, cut, paused
        self.tell()

    async def elect(self, seconds: float) -> None:
        """Be without a leader for some time."""
        self.electing = True
        self.tell()
        await asyncio.sleep(seconds)
        self.electing = False
        self.tell()

    def compact(self, revision: int) -> None:
        """Forget what was before a revision."""
        self.compacted = max(self.compacted, min(revision, self.revision))
        self.tell()

    def decides(self, member: FakeMember) -> bool:
        """Whether a member can have something decided just now: it is one of a majority that has a leader."""
        if self.electing or not member.working:
            return False
        return len([each for each in self.members.values() if each.working]) * 2 > len(self.members)

    def tell(self) -> None:
        """Wake all who wait for something to change."""
        self.changed.set()
        self.changed = asyncio.Event()

    # --- what it holds ---

    def apply(self, transaction: Transaction) -> Outcome:
        """Do a transaction at this instant.

        Raises:
            Refused: a key is put twice, or put and deleted.

        """
        for branch in (transaction.success, transaction.failure):
            _refuse_twice(branch)
        succeeded = all(self._is_so(each) for each in transaction.compare)
        changes: list[Put | Delete] = []
        found: list[KeyValue | None] = []
        for each in transaction.success if succeeded else transaction.failure:
            if isinstance(each, Get):
                found.append(self._values.get(each.key))
            elif isinstance(each, Put) or each.key in self._values:
                changes.append(each)
                _change(self._values, each, self.revision + 1)
        if changes:
            self.revision += 1
            self._history.append(Revision(self.revision, tuple(changes)))
            self.applied(transaction, self._history[-1])
            self.tell()
        return Outcome(self.revision, succeeded, tuple(found))

    def state(self, revision: int) -> list[KeyValue]:
        """Return all keys, in order, as they were at a revision.

        Raises:
            Compacted: it is gone.

        """
        if not self.compacted <= revision <= self.revision:
            raise Compacted(f"revision {revision} is gone, or yet to come")
        values = self._values
        if revision < self.revision:
            values = {}
            for each in self._history:
                for change in each.changes if each.number <= revision else ():
                    _change(values, change, each.number)
        return [values[key] for key in sorted(values)]

    def after(self, revision: int) -> list[Revision]:
        """Return the revisions from one on.

        Raises:
            Compacted: it is gone, or was never here.

        """
        if revision < self.compacted or revision > self.revision + 1:
            raise Compacted(f"revision {revision} is gone: this is at {self.revision}")
        return self._history[max(0, revision - 2) :]  # the first change makes revision 2

    def _is_so(self, compare: Compare) -> bool:
        found = self._values.get(compare.key)
        return (found.mod if found is not None else 0) == compare.mod

    # --- what happens to a request ---

    async def process(self, member: FakeMember, transaction: Transaction) -> Outcome:
        """Take a transaction through the cluster, whether or not somebody still waits for its answer."""
        faults, rng = self.faults, self._rng
        await asyncio.sleep(rng.uniform(0, faults.delay) + faults.slow * len(transaction.success))
        if rng.random() < faults.late:
            await asyncio.sleep(rng.uniform(0, faults.late_seconds))
        await self.decided(member)
        outcome = self.apply(transaction)
        await asyncio.sleep(rng.uniform(0, faults.delay))
        if rng.random() < faults.unanswered or not member.up:
            raise NoAnswer("the connection was lost")
        return outcome

    async def decided(self, member: FakeMember) -> None:
        """Wait until a member can have something decided.

        Raises:
            NoAnswer: it cannot, for too long, or is gone.

        """
        if self.decides(member):
            return
        try:
            async with asyncio.timeout(UNDECIDED_SECONDS):
                while not self.decides(member):
                    if not member.up:
                        raise NoAnswer("connection refused")
                    await self.changed.wait()
        except TimeoutError:
            raise NoAnswer("etcdserver: request timed out") from None

    def send(self, member: FakeMember, transaction: Transaction) -> asyncio.Task[Outcome]:
        task = asyncio.create_task(self.process(member, transaction))
        self._sent.add(task)
        task.add_done_callback(self._processed)
        return task

    def _processed(self, task: asyncio.Task[Outcome]) -> None:
        self._sent.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have given up

    def draw(self, share: float) -> bool:
        return self._rng.random() < share

    def uniform(self, most: float) -> float:
        return self._rng.uniform(0, most)


class FakeClient:
    """A client of one member, as `EtcdClient` is of the real one."""

    def __init__(self, etcd: FakeEtcd, member: FakeMember) -> None:
        self._etcd = etcd
        self._member = member

    async def transact(self, transaction: Transaction) -> Outcome:
        if not self._member.up:
            raise NoAnswer("connection refused")
        if self._etcd.draw(self._etcd.faults.lost):
            await asyncio.sleep(UNDECIDED_SECONDS)
            raise NoAnswer("the request was lost")
        return await asyncio.shield(self._etcd.send(self._member, transaction))

    async def read(self, first: bytes, end: bytes, *, limit: int, revision: int = 0) -> Page:
        etcd = self._etcd
        await asyncio.sleep(etcd.uniform(etcd.faults.delay))
        await etcd.decided(self._member)
        at = revision or etcd.revision
        if not revision and etcd.draw(etcd.faults.stale):
            at = max(etcd.compacted, 1, at - round(etcd.uniform(etcd.faults.stale_revisions)))
        found = [each for each in etcd.state(at) if first <= each.key < end]
        return Page(etcd.revision if revision else at, tuple(found[:limit]), len(found) > limit)

    async def watch(self, prefix: bytes, revision: int) -> AsyncGenerator[Revision, None]:
        etcd, member = self._etcd, self._member
        end = end_of(prefix)
        while True:
            await asyncio.sleep(etcd.uniform(etcd.faults.lag))
            if not etcd.decides(member):
                await self._not_alone()
            following = etcd.after(revision)
            if not following:
                await etcd.changed.wait()
            for each in following:
                revision = each.number + 1
                changes = tuple([change for change in each.changes if prefix <= change.key < end])
                if changes:
                    yield Revision(each.number, changes)
                if not member.up:
                    raise NoAnswer("the connection was lost")

    async def close(self) -> None:
        """Nothing is held."""

    async def _not_alone(self) -> None:
        """Wait until the member hears of the others.

        Raises:
            NoAnswer: it does not, for too long, or is gone.

        """
        try:
            async with asyncio.timeout(WATCH_SECONDS):
                while not self._etcd.decides(self._member):
                    if not self._member.up:
                        raise NoAnswer("connection refused")
                    await self._etcd.changed.wait()
        except TimeoutError:
            raise NoAnswer("etcdserver: no leader") from None


def _change(values: dict[bytes, KeyValue], change: Put | Delete, revision: int) -> None:
    if isinstance(change, Put):
        values[change.key] = KeyValue(change.key, change.value, revision)
    else:
        values.pop(change.key, None)


def _refuse_twice(operations: Sequence[Operation]) -> None:
    changed = [each.key for each in operations if not isinstance(each, Get)]
    if len(changed) == len(set(changed)):
        return
    if any(isinstance(each, Put) and changed.count(each.key) > 1 for each in operations):
        raise Refused("etcdserver: duplicate key given in txn request")

"""What must hold of a store that managers share, whatever happens to them: checked at each revision of etcd's model.

One writer an epoch; index and epoch only rise; what was acknowledged is there, once, and what was refused never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from common.model import StoredObject
from manager.store.backend import Deposed, Epoch, LeaderRecord, Unknown
from manager.store.backends.etcd.api import NoAnswer, Outcome, Put, Revision, Transaction
from manager.store.backends.etcd.backend import EtcdBackend
from manager.store.backends.etcd.layout import Layout
from manager.store.backends.sealed import Unsealed
from manager.store.changes import ChangeSet
from manager.store.tables import Tables
from tests.fakes.etcd import FakeClient, FakeEtcd
from tests.sim.invariants import CheckedBackend

CLUSTER = "cluster"


@dataclass(frozen=True, eq=False)
class Commit:
    """One commit of one leader, empty for a beat: another one of the same changes is not the same."""

    change_sets: tuple[ChangeSet, ...] = ()


class History:
    """Hears of each revision, and of what became of each commit."""

    def __init__(self, etcd: FakeEtcd, checks: CheckedBackend) -> None:
        self.layout = Layout(CLUSTER, Unsealed())
        self._compared: dict[str, tuple[Tables, int]] = {}
        self.sent: dict[bytes, Commit] = {}  # by the position that a commit writes, which is its own
        self.leaders: list[LeaderRecord] = []
        self.acknowledged = self.unknown = 0
        self._checks = checks
        self._stored: set[Commit] = set()
        self._refused: set[Commit] = set()
        etcd.applied = self._applied

    @property
    def epoch(self) -> Epoch:
        return self.leaders[-1].epoch if self.leaders else Epoch()

    def _applied(self, _: Transaction, revision: Revision) -> None:
        values = {each.key: each.value for each in revision.changes if isinstance(each, Put)}
        if self.layout.leader in values:
            self._led(self.layout.read_leader(values[self.layout.leader]))
        if self.layout.position in values:
            self._committed(revision, values[self.layout.position])

    def _led(self, record: LeaderRecord) -> None:
        if record.vacant:
            if record.epoch != self.epoch:
                self._broken(f"{record} gives up what {self.epoch} has")
            return
        if record.epoch <= self.epoch:
            self._broken(f"{record} does not come after {self.epoch}")
        self.leaders.append(record)
        self._checks.begin()

    def _committed(self, revision: Revision, value: bytes) -> None:
        position = self.layout.read_position(value)
        commit = self.sent[value]
        index = self._checks.mirror.index
        if position.epoch != self.epoch:
            self._broken(f"a commit of {position.epoch} is stored while {self.epoch} leads")
        if commit in self._stored:
            self._broken(f"change {position.index} is stored twice")
        if commit in self._refused:
            self._broken(f"change {position.index} was refused, and is stored")
        if [each.index for each in commit.change_sets] != list(range(index + 1, index + 1 + len(commit.change_sets))):
            self._broken(f"changes {[each.index for each in commit.change_sets]} are stored after {index}")
        self._stored.add(commit)
        for change_set in commit.change_sets:
            self._checks.check(change_set)
        if position.index != self._checks.mirror.index:
            self._broken(f"the position is {position.index} after change {self._checks.mirror.index}")
        for each in self.layout.changes(revision.changes):
            kind = type(each) if isinstance(each, get_args(StoredObject)) else each.kind  # type: ignore[union-attr]
            found = self._checks.mirror.of(kind).get(each.id)
            if (found is None) != (found != each):
                self._broken(f"{each.id} is stored as {each}, and is {found}")

    def answered(self, commit: Commit, error: BaseException | None) -> None:
        """Hear what a leader was told of its commit."""
        if error is None:
            self.acknowledged += 1
            if commit not in self._stored:
                self._broken(f"change {commit.change_sets[-1].index} was acknowledged, and is not stored")
        elif isinstance(error, Deposed):
            self._refused.add(commit)
            if commit in self._stored:
                self._broken(f"change {commit.change_sets[-1].index} was refused, and is stored")
        elif isinstance(error, Unknown):
            self.unknown += 1

    def compare(self, name: str, tables: Tables) -> None:
        """Check that a manager's memory, where it has come as far as what is stored, is the same."""
        mirror = self._checks.mirror
        if tables.index > mirror.index:
            self._broken(f"{name} is at change {tables.index}, of {mirror.index}")
        if tables.index != mirror.index or self._compared.get(name) == (tables, tables.index):
            return
        self._compared[name] = tables, tables.index
        for kind in get_args(StoredObject):
            here, there = ({each.id: each for each in each.of(kind)} for each in (tables, mirror))
            if here != there:
                odd = next(key for key in here | there if here.get(key) != there.get(key))
                self._broken(f"{name} has {here.get(odd)} at {tables.index}, not {there.get(odd)}")

    def _broken(self, problem: str) -> None:
        self._checks.broken.append(problem)


class RecordedBackend(EtcdBackend):
    """A manager's end of it, of which the history is told. `silent`: nothing comes or goes any more."""

    def __init__(self, etcd: FakeEtcd, member: str, history: History, newest_level: int) -> None:
        self._client = _Sender(etcd, member, history)
        super().__init__(self._client, CLUSTER, Unsealed(), newest_level=newest_level)
        self._history = history

    def fall_silent(self) -> None:
        """Be as one whose process was killed."""
        self._client.silent = True

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        self._client.commit = commit = Commit(tuple(change_sets))
        try:
            await super().commit(change_sets)
        except BaseException as error:
            self._history.answered(commit, error)
            raise
        self._history.answered(commit, None)

    async def beat(self) -> None:
        self._client.commit = Commit()
        await super().beat()


class _Sender(FakeClient):
    def __init__(self, etcd: FakeEtcd, member: str, history: History) -> None:
        super().__init__(etcd, etcd.members[member])
        self.commit = Commit()
        self.silent = False
        self._history = history

    async def transact(self, transaction: Transaction) -> Outcome:
        if self.silent:
            raise NoAnswer("this manager is gone")
        for each in transaction.success:
            if isinstance(each, Put) and each.key == self._history.layout.position:
                self._history.sent[each.value] = self.commit
        return await super().transact(transaction)

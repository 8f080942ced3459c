"""The scheduling loop: keeps the load up with the store, decides on it, commits what still holds.

Unlike the other loops it decides just before its transaction, on the state that the load was brought to, and
looks again inside: a task or node that changed in between is left for the next decision. Nothing else is needed,
since only this loop adds load to nodes; whatever else happens takes load away.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from common.aio.steady import PAUSE_SECONDS
from common.clock import Clock
from common.errors import Unavailable
from common.model import StoredObject, Task
from manager.domain import volumes
from manager.domain.volume_claims import Claims
from manager.loops.balancing import Balancing
from manager.loops.loop import RETRY_SECONDS
from manager.schedule.load import ClusterLoad, Group, group_of, load_of, waiting
from manager.schedule.scheduler import REASON_SECONDS, TASKS_A_DECISION, Round, schedule
from manager.store.changes import Change, Decision
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.watch import Lagged, Subscription

RETRY_SECONDS_PER_VISIT = 2e-5
MAX_RETRY_SECONDS = 30.0
# Objects that are added to the load at a time: some 30 ms.
_PART = 10_000

_log = logging.getLogger("manager.loops.scheduling")


class Scheduling:
    """Runs the scheduler over the store until cancelled.

    `_todo` are the groups to try now, `_later` those to try at an instant (Unix seconds), `_one_by_one` how many must
    be tried one by one, as a decision on several of them has met a bug.
    """

    def __init__(self, store: Store, clock: Clock, limit: int = TASKS_A_DECISION) -> None:
        self._store = store
        self._clock = clock
        self._limit = limit
        self._load = ClusterLoad()
        self._balancing = Balancing(store, clock)
        self._todo: dict[Group, None] = {}
        self._later: dict[Group, float] = {}
        self._retried_at = -math.inf
        self._retry_due = math.inf
        self._wasted_visits = 0
        self._one_by_one = 0

    @property
    def load(self) -> ClusterLoad | None:
        """The index of the nodes' load, for others to read; None before scheduling has started."""
        return self._load if self._load.nodes else None

    async def run(self) -> None:
        """Place waiting tasks; try those that found no node again when that may have changed."""
        while True:
            async with self._store.turn():
                changes, objects = self._store.watch(), load_of(self._store.view)  # of one instant
                self._balancing.start_over()
            with changes:
                try:
                    await self._start_over(objects)
                    await self._follow(changes)
                except Lagged:
                    _log.warning("scheduling fell behind the changes: deciding everything again")

    async def _follow(self, changes: Subscription) -> None:
        while True:
            if self._todo:
                await self._decide()
            elif self._balancing.due <= self._clock.now():
                await self._balancing.step(self._load)
            await self._follow_changes(changes)

    async def _start_over(self, objects: Sequence[StoredObject]) -> None:
        """Build the load of the given objects, in pieces, as all of it takes long."""
        load = ClusterLoad()
        for start in range(0, len(objects), _PART):
            async with self._store.turn():
                load.add_all(objects[start : start + _PART])
        self._load = load
        self._todo = dict.fromkeys(self._load.pending)
        self._later.clear()

    async def _follow_changes(self, changes: Subscription) -> None:
        """Apply all changes there are; wait for one, or until something is due, only if there is nothing to try."""
        due = min(self._retry_due, self._balancing.due, min(self._later.values(), default=math.inf))
        delay = 0.0 if self._todo else max(0.0, due - self._clock.now())
        try:
            async with asyncio.timeout(None if delay == math.inf else delay):
                for change_set in await changes.next():
                    for change in change_set.changes:
                        self._take_in(change)
        except TimeoutError:
            pass  # what is due is handled below
        self._take_due(self._clock.now())

    def _take_in(self, change: Change) -> None:
        self._balancing.note_change(change)
        if self._load.apply(change):
            self._retry_due = min(self._retry_due, self._next_retry())
        if isinstance(change.new, Task) and waiting(change.new) and _changed_by_others(change):
            self._todo[group_of(change.new)] = None

    def _next_retry(self) -> float:
        """Return when all waiting tasks may be tried again (Unix seconds): paced by the cost of the last attempt."""
        return self._retried_at + min(MAX_RETRY_SECONDS, RETRY_SECONDS_PER_VISIT * self._wasted_visits)

    def _take_due(self, now: float) -> None:
        if self._retry_due <= now:
            self._retry_due = math.inf
            self._retried_at = now
            self._wasted_visits = 0
            self._todo.update(dict.fromkeys(self._load.pending))
        for group in [group for group, instant in self._later.items() if instant <= now]:
            del self._later[group]
            self._todo[group] = None

    async def _decide(self) -> None:
        groups = list(islice(self._todo, 1 if self._one_by_one else self._limit))
        for group in groups:
            del self._todo[group]
        self._one_by_one = max(0, self._one_by_one - 1)
        try:
            await self._place(groups)
        except Exception:  # noqa: BLE001 - a bug with one service must not end the loop; it is logged whole
            if len(groups) > 1:  # one by one they show which group it is
                self._todo = dict.fromkeys([*groups, *self._todo])
                self._one_by_one = len(groups)
                return
            _log.exception("cannot place tasks of service %s: trying again later", groups[0][0])
            self._later[groups[0]] = self._clock.now() + PAUSE_SECONDS

    async def _place(self, groups: Collection[Group]) -> None:
        now = self._clock.now()
        result = schedule(self._store.view, self._load, groups, now, limit=self._limit)
        self._todo.update(dict.fromkeys(result.more))
        self._wasted_visits += result.wasted_visits
        self._later.update(dict.fromkeys(result.again, now + REASON_SECONDS))
        if not result.decision:
            return
        try:
            dropped = await self._store.update(lambda tx: self._commit(tx, result))
        except Unavailable as error:
            _log.error("could not store the placement of tasks: %s", error.message)
            for group in groups:
                self._todo.pop(group, None)
            self._later.update(dict.fromkeys(groups, now + RETRY_SECONDS))
            return
        self._todo.update(dict.fromkeys(dropped))
        for reason in result.decision.reasons:
            _log.info("%s", reason)

    def _commit(self, tx: Transaction, result: Round) -> list[Group]:
        """Store what is still valid in the newest state; return the groups of the rest."""
        kept: list[StoredObject] = []
        dropped: list[Group] = []
        claims = Claims(tx)
        for task in _tasks(result.decision.put):
            placed = volumes.settle(task, claims) if self._unchanged(tx, task) else None
            if placed is None:
                dropped.append(group_of(task))
            else:
                kept += (placed[0], *placed[1])
        tx.apply(Decision(put=tuple(kept)))
        return dropped

    def _unchanged(self, tx: Transaction, task: Task) -> bool:
        """Whether the task and its node have not changed since the decision."""
        current = tx.tasks.get(task.id)
        if current is None or current.version != task.version:
            return False
        if not task.node_id:
            return True
        known, node = self._load.nodes.get(task.node_id), tx.nodes.get(task.node_id)
        if node is None:
            return known is None or known.node is None
        return known is not None and known.node is not None and known.node.version == node.version


def _changed_by_others(change: Change) -> bool:
    """Whether a waiting task is new or changed by others: the scheduler's own message is not a reason to retry."""
    old, new = change.old, change.new
    assert isinstance(new, Task)
    return not isinstance(old, Task) or not waiting(old) or old.status == new.status


def _tasks(values: Iterable[StoredObject]) -> Iterable[Task]:
    return (value for value in values if isinstance(value, Task))

"""The scheduler's decision: assigns pending tasks to nodes, a limited number at a time, each group its share.

A decision is a function of the view, of its load, and of the time. It leaves the load unchanged: an assigned task
counts for good when it is stored and its change comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from common.model import Task, TaskState, TaskStatus
from manager.domain import volumes
from manager.domain.reservations import Available, reservations_of
from manager.domain.volume_claims import Claims, take
from manager.schedule.filters import Pipeline, pipeline
from manager.schedule.load import ClusterLoad, Group
from manager.schedule.node_load import NodeLoad
from manager.schedule.rank import Branch, Demand, Spread, Strategy, default_strategy, has_special_strategy, strategy_of
from manager.schedule.regions import Levels, RegionTree, levels_of
from manager.schedule.spread import spread_over
from manager.store.changes import Decision
from manager.store.view import View

# A task that can be on one node only: (task, node id, the volume whose data is there or an empty text).
Pinned: TypeAlias = tuple[Task, str, str]

TASKS_A_DECISION = 1000
SHARE_AT_LEAST = 32
VISITS_A_DECISION = 20_000
VISITS_A_GROUP = 5
FEW = 32  # up to so many nodes are sorted for each group; more are kept in order
FAILURES = 5
FAILURE_WINDOW = 300.0
REASON_SECONDS = 5.0

_SPREAD = Spread()
ASSIGNED_MESSAGE = "scheduler assigned task to node"


@dataclass(frozen=True, slots=True)
class Round:
    """One decision, and what it leaves to the next.

    `more` are groups to go on with at once, in this order; the others need not be tried again until something changes.
    `again` are groups whose tasks' messages are out of date, to be tried `REASON_SECONDS` later. `wasted_visits` counts
    the nodes that were asked for groups that did not find enough.
    """

    decision: Decision
    more: tuple[Group, ...] = ()
    again: tuple[Group, ...] = ()
    wasted_visits: int = 0


def schedule(
    view: View,
    load: ClusterLoad,
    groups: Collection[Group],
    now: float,
    *,
    limit: int = TASKS_A_DECISION,
    strategy: Strategy | None = None,
) -> Round:
    """Place waiting tasks of `groups` in turn, about `limit` in all and an equal share of it for each group.

    A task that finds no node gets the reasons in its `status.err`: every filter and how many nodes it refused.
    """
    work = _Work(view, load, now, strategy)
    share = max(limit // max(1, len(groups)), min(limit, SHARE_AT_LEAST))
    unfinished: list[Group] = []
    waiting = iter(groups)
    try:
        for group in waiting:
            if not work.place_group(group, share):
                unfinished.append(group)
            if len(work.put) >= limit or work.visits >= VISITS_A_DECISION:
                break
    finally:
        work.undo()
    decision = Decision(put=tuple(work.put), reasons=tuple(work.reasons.values()))
    return Round(decision, more=(*waiting, *unfinished), again=tuple(work.again), wasted_visits=work.wasted_visits)


@dataclass(slots=True)
class _Work:
    """A decision while it is made. `visits` counts the nodes that were asked, which bounds its time."""

    view: View
    load: ClusterLoad
    now: float
    strategy: Strategy | None
    put: list[Task] = field(default_factory=list)
    again: dict[Group, None] = field(default_factory=dict)
    reasons: dict[Group, str] = field(default_factory=dict)
    visits: int = 0
    wasted_visits: int = 0
    _added: list[Task] = field(default_factory=list)
    _unplaceable: dict[Hashable, str] = field(default_factory=dict)
    _assigned: TaskStatus = field(init=False)
    _default: str = field(init=False)
    _claims: Claims = field(init=False)

    def __post_init__(self) -> None:
        self._claims = Claims(self.view)
        self._default = default_strategy(self.view)
        self._assigned = TaskStatus(state=TaskState.ASSIGNED, message=ASSIGNED_MESSAGE, timestamp=self.now)

    def undo(self) -> None:
        for task in reversed(self._added):
            self.load.take_away(task)

    def place_group(self, group: Group, share: int) -> bool:
        """Place up to `share` tasks of a group; return whether all of them were tried."""
        pending = self.load.pending.get(group)
        if not pending:
            return True
        self.visits += VISITS_A_GROUP
        first = next(iter(pending.values()))
        rules = pipeline(first, self.view, self.load)
        if self._claims.concern(first):
            return self._place_with_data(group, pending.values(), rules, share)
        alone = len(pending) == 1 and not first.node_id
        pinned = () if alone else [task for task in pending.values() if task.node_id]
        if pinned:  # of a global service, or moving to a node that was chosen for it
            confirmed = self._confirm(group, ((task, task.node_id, "") for task in pinned), rules, share)
            if len(pinned) == len(pending) or not confirmed:
                return confirmed
        tasks = (task for task in pending.values() if not task.node_id) if pinned else iter(pending.values())
        return self._place_freely(group, tasks, len(pending) - len(pinned), rules, share)

    def _place_with_data(self, group: Group, pending: Iterable[Task], rules: Pipeline, share: int) -> bool:
        """Place tasks with volumes: each where its slot's data is, others freely; these then claim their volumes.

        Claims made here count for the next tasks.
        """
        free: list[Task] = []
        for task in pending:
            if share <= 0:
                return False
            match volumes.places(task, self._claims):
                case volumes.Nowhere(reason=reason):
                    share -= self._write_reason(group, task, reason)
                case volumes.Only(node_id=node_id, volume=volume):
                    self._confirm(group, [(task, node_id, volume)], rules, share)
                    share -= 1
                case volumes.Anywhere(alone=True) as where:
                    self._place_freely(group, iter((task,)), 1, rules.without_nodes(where.unfit, where.volume), share)
                    share -= 1
                case volumes.Anywhere():
                    free.append(task)
        return self._place_freely(group, iter(free), len(free), rules, share)

    def _place_freely(self, group: Group, tasks: Iterator[Task], free: int, rules: Pipeline, share: int) -> bool:
        """Place up to `share` of a group's `free` tasks on the best nodes."""
        if not free:
            return True
        visits_before = self.visits
        first = next(iter(self.load.pending[group].values()))
        most = min(share, free)
        unplaceable = rules.invalid or (self._unplaceable and rules.key in self._unplaceable)
        done = 0 if unplaceable else self._spread(group, first, rules, tasks, most)
        if done == most:
            return done == free
        reason = self._unplaceable_reason(rules)
        self.wasted_visits += self.visits - visits_before
        return self._explain(group, tasks, reason, share - done)

    def _spread(self, group: Group, first: Task, rules: Pipeline, tasks: Iterator[Task], most: int) -> int:
        """Assign up to `most` of the group's tasks to the best nodes; return how many."""
        failing = self.load.failing(group, self.now - FAILURE_WINDOW, FAILURES)
        counts = dict(self.load.counts(group[0]))
        levels = levels_of(first.spec.placement)
        accepts = rules.accepts if levels else rules.has_room  # elsewhere only nodes that suit are offered
        demand = Demand(self._counting(accepts), lambda node: self._assign(next(tasks), node), counts, failing)
        strategy = self.strategy or self._strategy(group[0])
        return self._branch(strategy, levels, rules, demand).place(most)

    def _strategy(self, service_id: str) -> Strategy:
        service = self.view.services.get(service_id)
        if service is None or not has_special_strategy(service, self._default):
            return _SPREAD
        return strategy_of(service, self.view, self.load, self._default)

    def _branch(self, strategy: Strategy, levels: Levels, rules: Pipeline, demand: Demand) -> Branch:
        """Choose where to look: in the preferences' tree, among suitable nodes, or everywhere."""
        if levels:
            return spread_over(self._updated(self.load.tree_by(levels)), strategy, demand)
        if not rules.fixed:
            return strategy.within(self._updated(self.load.everywhere).root, demand)
        key = rules.fixed_key
        suited = self.load.suitable_nodes(key, self._counting(rules.suits), rules.wanted)
        tree = self.load.suitable_tree(key, rules.suits) if len(suited) > FEW else None
        if tree is None:
            return strategy.among((load for load in suited if load.open), demand)
        return strategy.within(self._updated(tree).root, demand)

    def _updated(self, tree: RegionTree) -> RegionTree:
        self.visits += tree.update()
        return tree

    def _counting(self, ask: Callable[[NodeLoad], bool]) -> Callable[[NodeLoad], bool]:
        def asked(node: NodeLoad) -> bool:
            self.visits += 1
            return ask(node)

        return asked

    def _assign(self, task: Task, node: NodeLoad) -> None:
        given = msgspec.structs.replace(task, node_id=node.id, status=self._assigned)
        if task.spec.resources is not None and (wanted := reservations_of(task)).generic_resources:
            assert node.node is not None
            left = Available.of(node.node, node.generic.values())
            given = msgspec.structs.replace(given, generic_resources=left.choose(wanted))
        take(given, self._claims)
        self.load.add(given)
        self._added.append(given)
        self.put.append(given)

    def _confirm(self, group: Group, tasks: Iterable[Pinned], rules: Pipeline, share: int) -> bool:
        """Assign tasks to the only node that each can be on (global services, data), or say why not."""
        for task, node_id, volume in tasks:
            if share <= 0:
                return False
            self.visits += 1
            node = self.load.nodes.get(node_id)
            if node is not None and node.open and not rules.invalid and rules.accepts(node):
                self._assign(task, node)
                share -= 1
            else:
                share -= self._write_reason(group, task, self._why_not_there(node, volume, rules))
        return True

    def _why_not_there(self, node: NodeLoad | None, volume: str, rules: Pipeline) -> str:
        """Return why a task cannot go to its only node, which may be due to the data in `volume`."""
        why = rules.invalid or rules.explain([node] if node is not None else [])
        if volume and node is not None:
            where = volumes.waits_for(volume, node.id, self.view)
            return where or f"{volumes.waits_elsewhere(volume, node.id, self.view)}: {why}"
        return _no_node(why)

    def _unplaceable_reason(self, rules: Pipeline) -> str:
        """Return why tasks with these demands find no node now; cached, as other groups may have the same."""
        if rules.key not in self._unplaceable:
            self._unplaceable[rules.key] = rules.invalid or rules.explain(self.load.nodes.values())
            self.visits += len(self.load.nodes)
        return self._unplaceable[rules.key]

    def _explain(self, group: Group, tasks: Iterator[Task], reason: str, share: int) -> bool:
        for task in tasks:
            if share <= 0:
                return False
            share -= self._write_reason(group, task, _no_node(reason))
        return True

    def _write_reason(self, group: Group, task: Task, reason: str) -> bool:
        """Write the reason into a task's status if it is new; rarely, as it changes with every task that ends."""
        status, text = task.status, reason
        if status.err == text:
            return False
        if status.err and self.now - status.timestamp < REASON_SECONDS:
            self.again[group] = None
            return False
        told = msgspec.structs.replace(status, err=text, timestamp=self.now)
        self.put.append(msgspec.structs.replace(task, status=told))
        self.reasons[group] = f"task {task.name} of service {task.service_name or task.service_id}: {text}"
        return True


def _no_node(why: str) -> str:
    return f"no suitable node ({why})" if why else "no suitable node"

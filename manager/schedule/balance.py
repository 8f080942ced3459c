"""Which tasks to move so that services are spread as new ones would be. Pure.

A move must make the cluster strictly more even: first each service's tasks over the branches of its spread preferences,
then over the nodes, then all tasks over the nodes. Each move lowers the sum of squares of the first of these counts
that it changes, so planning ends, and a finished plan leaves nothing to plan.

A task's replacement runs beside it before it stops. So a node must have room for it as things are, and each service
moves one task at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import msgspec

from common.model import Service, Task
from common.model.service import Placement
from common.spec.volumes import LOCAL_DRIVERS, scope_of
from manager.domain.reservations import Available, reservations_of
from manager.schedule.filters import Pipeline, pipeline
from manager.schedule.load import ClusterLoad
from manager.schedule.node_load import NodeLoad
from manager.schedule.rank import default_strategy, has_special_strategy
from manager.schedule.regions import Levels, label_value, levels_of
from manager.store.view import View

# Seconds for which a node on which a task of the service failed is not moved to.
FAILURE_WINDOW = 300.0
# The difference of two counts from which a move makes them more even.
_EVEN = 2
_UPDATING = ("updating", "rollback_started", "paused", "rollback_paused")


@dataclass(frozen=True, slots=True)
class Move:
    """A running task, and the id of the node on which its replacement is to run."""

    task: Task
    node_id: str


def reason_to_stay(service: Service, default: str = "spread") -> str:
    """Return why a service's tasks are never moved to even out the load; empty when they may be.

    `default` is the cluster's strategy.
    """
    if service.pending_delete:
        return "it is being removed"
    if service.spec.mode.is_global or service.spec.mode.is_job:
        return "only replicated services are moved"
    if has_special_strategy(service, default):
        return "it is placed by binpack or affinities, not evenly"
    template = service.spec.task_template
    if template.restart_policy is not None and template.restart_policy.condition == "none":
        return "its restart condition is none: its tasks run once"
    container = template.container_spec
    for mount in container.mounts if container is not None else ():
        driver = mount.volume_options.driver_config if mount.volume_options is not None else None
        local = mount.type == "volume" and (driver is None or driver.name in LOCAL_DRIVERS)
        if mount.type == "bind" or (local and scope_of(mount) != "shared"):
            return f"its data at {mount.target} is on its present node"
    return ""


@dataclass(slots=True)
class Balancer:
    """Finds moves over a load, which `add` and `make` change for trial; `undo` restores it.

    `excluded` are nodes that take no moves now, `tried` moves (service, slot, node) that are not made again. `visits`
    counts the nodes that were looked at, which is the cost.
    """

    view: View
    load: ClusterLoad
    now: float
    excluded: Collection[str] = ()
    tried: Collection[tuple[str, int, str]] = ()
    visits: int = 0
    _moved: dict[str, Task] = field(default_factory=dict)
    _changes: list[tuple[Task | None, Task]] = field(default_factory=list)  # what was taken away, and what was added

    def best_move(self, service: Service) -> Move | None:
        """Return the best move of one of the service's tasks; None if none improves anything or one is being moved."""
        tasks = self._tasks(service)
        if tasks is None:
            return None
        placement = service.spec.task_template.placement
        model = _as_placed_now(tasks[0], placement)
        rules = pipeline(model, self.view, self.load)
        levels = levels_of(placement)
        if rules.invalid or not (levels or self._uneven(service)):
            return None
        targets = self._targets(service, model, rules)
        counts = self.load.counts(service.id)
        branches = _Branches(self.load, counts, levels)
        one_a_node = {task.node_id: task for task in sorted(tasks, key=lambda task: task.slot)}
        fullest = sorted(
            one_a_node, key=lambda node: (branches.fill(node), self._rank(counts, node), node), reverse=True
        )
        for source in (self.load.nodes[node_id] for node_id in fullest):
            task = one_a_node[source.id]
            for target in targets:
                if not branches.improves(source, target):
                    if levels:
                        continue
                    break  # the next ones are fuller
                if (service.id, task.slot, target.id) not in self.tried and rules.accepts(target):
                    return Move(task, target.id)
        return None

    def add(self, move: Move) -> None:
        """Count a task's replacement beside it, as during the move."""
        given = _task_after_move(move, self.load)
        self.load.add(given)
        self._changes.append((None, given))

    def make(self, move: Move) -> None:
        """Count a move as done."""
        given = _task_after_move(move, self.load)
        self.load.take_away(move.task)
        self.load.add(given)
        self._changes.append((move.task, given))
        self._moved[move.task.id] = given

    def undo(self) -> None:
        for before, given in reversed(self._changes):
            self.load.take_away(given)
            if before is not None:
                self.load.add(before)
        self._changes.clear()
        self._moved.clear()

    def _rank(self, counts: dict[str, int], node_id: str) -> tuple[int, int]:
        """Order nodes from the emptiest: by the service's tasks, then by all."""
        return counts.get(node_id, 0), self.load.nodes[node_id].total

    def _uneven(self, service: Service) -> bool:
        """Whether the service could be more even at all; this is cheap, as most could not, and asks no node."""
        counts = self.load.counts(service.id)
        most = max(counts.values(), default=0)
        if most >= _EVEN:
            return True
        emptiest = next(self.load.by_total(), None)
        fullest = max((self.load.nodes[node_id].total for node_id in counts), default=0)
        return emptiest is not None and fullest - emptiest.total >= _EVEN

    def _targets(self, service: Service, task: Task, rules: Pipeline) -> list[NodeLoad]:
        """List the nodes that could take tasks, the emptiest first."""
        failed = self.load.failing((service.id, task.spec_version), self.now - FAILURE_WINDOW, 1)
        self.visits += len(self.load.nodes)
        counts = self.load.counts(service.id)
        found = [
            node
            for node in self.load.nodes.values()
            if node.open and node.id not in self.excluded and node.id not in failed and rules.suits(node)
        ]
        return sorted(found, key=lambda node: (self._rank(counts, node.id), node.id))

    def _tasks(self, service: Service) -> list[Task] | None:
        """Return the service's tasks if all serve and none is being moved or out of date, else None."""
        if reason_to_stay(service, default_strategy(self.view)) or service.waits_for:
            return None
        status = service.update_status
        if status is not None and status.state in _UPDATING:
            return None
        tasks = [self._moved.get(t.id, t) for t in self.view.tasks.of_service(service.id) if t.live]
        known = self.load.nodes  # which may lag behind the store
        return tasks if tasks and all(t.serves and not t.moving_to and t.node_id in known for t in tasks) else None


def _as_placed_now(task: Task, placement: Placement | None) -> Task:
    """Return a task with its replacement's placement: a change of that alone does not replace tasks."""
    return msgspec.structs.replace(task, spec=msgspec.structs.replace(task.spec, placement=placement))


def _task_after_move(move: Move, load: ClusterLoad) -> Task:
    """Return the task as it would be on the other node."""
    given = msgspec.structs.replace(move.task, node_id=move.node_id, generic_resources=())
    wanted = reservations_of(move.task)
    node = load.nodes[move.node_id]
    if wanted.generic_resources and node.node is not None:
        chosen = Available.of(node.node, node.generic.values()).choose(wanted)
        given = msgspec.structs.replace(given, generic_resources=chosen)
    return given


class _Branches:
    """How many of a service's tasks there are in each branch of its spread preferences and on each node."""

    def __init__(self, load: ClusterLoad, counts: dict[str, int], levels: Levels) -> None:
        self._load = load
        self._levels = levels
        self._counts = counts
        self._sums: dict[tuple[str, ...], int] = {}
        for node_id, count in counts.items() if levels else ():
            path = self._path(load.nodes[node_id])
            for depth in range(1, len(path) + 1):
                self._sums[path[:depth]] = self._sums.get(path[:depth], 0) + count

    def _path(self, load: NodeLoad) -> tuple[str, ...]:
        return tuple(label_value(load.node, level) if load.node is not None else "" for level in self._levels)

    def fill(self, node_id: str) -> int:
        """Return the service's tasks in the node's first branch."""
        return self._sums.get(self._path(self._load.nodes[node_id])[:1], 0)

    def improves(self, source: NodeLoad, target: NodeLoad) -> bool:
        """Whether moving a task from one node to the other makes the first count in which they differ more even."""
        if source is target:
            return False
        here, there = self._path(source), self._path(target)
        for depth in range(1, len(here) + 1):
            if here[:depth] != there[:depth]:
                return self._sums.get(here[:depth], 0) - self._sums.get(there[:depth], 0) >= _EVEN
        more = self._counts.get(source.id, 0) - self._counts.get(target.id, 0)
        return more >= _EVEN or (more == 1 and source.total - target.total >= _EVEN)


def plan_moves(
    view: View, load: ClusterLoad, services: Iterable[Service], now: float, limit: int = 10_000
) -> list[Move]:
    """Return the moves, in order, after which no move improves anything; at most `limit`.

    The load is unchanged when this returns.
    """
    chosen = list(services)
    moves: list[Move] = []
    balancer = Balancer(view, load, now)
    try:
        again = True
        while again and len(moves) < limit:
            again = False
            for service in chosen:
                move = balancer.best_move(service)
                if move is not None and len(moves) < limit:
                    balancer.make(move)
                    moves.append(move)
                    again = True
    finally:
        balancer.undo()
    return moves


def next_moves(balancer: Balancer, services: Iterable[Service], most: int, go_on: Callable[[], bool]) -> list[Move]:
    """Return moves that can be made now, one per service and `most` in all, while `go_on()` is true."""
    moves: list[Move] = []
    try:
        for service in services:
            if len(moves) == most or not go_on():
                break
            move = balancer.best_move(service)
            if move is not None:
                balancer.add(move)
                moves.append(move)
    finally:
        balancer.undo()
    return moves

"""Rebalancing, in rounds: a few tasks are told to move, and when they have moved, the next ones.

It is part of the scheduling loop, whose load it uses. The requests are in the store (`Service.rebalancing`, and the
cluster's label `swarm.x.rebalance`), and so are the moves under way (`Task.moving_to`). What is only here may be lost:
which moves were tried, and since when nodes are open.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import msgspec

from common.clock import Clock
from common.errors import Unavailable
from common.model import Cluster, Node, Service, Task, TaskState
from common.spec import extensions
from manager.schedule.balance import Balancer, Move, next_moves, reason_to_stay
from manager.schedule.load import ClusterLoad, available
from manager.schedule.rank import default_strategy
from manager.store.changes import Change
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.view import View

# Tasks on the move at once, to even out the load, in the whole cluster.
MOVES_AT_ONCE = 10
# How long a node must have been open before tasks are moved to it by themselves: it may be gone again.
SETTLED_AFTER = 30.0
# When services are not at rest (an update, a task that waits), look again after so long.
LOOK_AGAIN = 10.0
_NODES_A_STEP = 20_000

_log = logging.getLogger("manager.loops.balancing")


class Balancing:
    """Moves tasks while that is requested. `due` is when to call `step` (Unix seconds), infinity for never."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.due = math.inf
        self._left: dict[str, None] | None = None
        self._moved = False
        self._tried: set[tuple[str, int, str]] = set()
        self._open_since: dict[str, float] = {}

    def start_over(self) -> None:
        """Start again, as changes were missed."""
        now = self._clock.now()
        self._open_since = {node.id: now for node in self._store.view.nodes if available(node)}
        self._begin()

    def note_change(self, change: Change) -> None:
        """Note whether a change is a reason to move tasks, or the end of a move."""
        value, old = change.current, change.old
        if isinstance(value, Node):
            self._note_node(value, gone=change.new is None)
        elif isinstance(value, Service):
            if value.rebalancing and not (isinstance(old, Service) and old.rebalancing):
                self._begin()
        elif isinstance(value, Task):
            if isinstance(old, Task) and old.moving_to and not _moving(change.new):
                self.due = self._clock.now()
        elif isinstance(value, Cluster) and not (isinstance(old, Cluster) and _automatic(old) == _automatic(value)):
            self._begin()

    def _note_node(self, node: Node, *, gone: bool) -> None:
        if gone or not available(node):
            self._open_since.pop(node.id, None)
        elif node.id not in self._open_since:
            self._open_since[node.id] = self._clock.now()
            if self._is_automatic():
                self._begin(after=SETTLED_AFTER)

    def _begin(self, after: float = 0.0) -> None:
        """Go over all services again."""
        self._left = None
        self._tried.clear()
        self.due = min(self.due, self._clock.now() + after)

    def _is_automatic(self) -> bool:
        return any(map(_automatic, self._store.view.clusters))

    async def step(self, load: ClusterLoad) -> None:
        """Tell a few tasks to move, or end the pass when nothing was left to move."""
        self.due = math.inf
        now = self._clock.now()
        try:
            await self._step(load, now)
        except Unavailable as error:
            _log.error("could not store the moves of tasks: %s", error.message)
            self.due = now + LOOK_AGAIN
        except Exception:  # noqa: BLE001 - a bug here must not end the scheduling; it is logged whole
            _log.exception("cannot decide which tasks move: trying again later")
            self.due = now + LOOK_AGAIN

    async def _step(self, load: ClusterLoad, now: float) -> None:
        view = self._store.view
        wanted = {service.id for service in self._services_to_balance(view)}
        moving = await self._next_round(load, wanted, now) if wanted else 0
        asked = wanted or any(service.rebalancing for service in view.services)
        if asked and moving == 0 and not self._left:
            await self._end_pass(wanted)

    def _services_to_balance(self, view: View) -> Iterator[Service]:
        automatic, default = self._is_automatic(), default_strategy(view)
        asked = (each for each in view.services if automatic or each.rebalancing)
        return (each for each in asked if not reason_to_stay(each, default))

    async def _next_round(self, load: ClusterLoad, wanted: set[str], now: float) -> int:
        """Start as many moves as may be under way; return how many are."""
        view = self._store.view
        if self._left is None:
            self._left, self._moved = dict.fromkeys(sorted(wanted)), False
        under_way = sum(1 for service_id in wanted for task in view.tasks.of_service(service_id) if _moving(task))
        room = MOVES_AT_ONCE - under_way
        if room <= 0:
            return under_way
        excluded = self._excluded(now) if self._is_automatic() else ()
        balancer = Balancer(view, load, now, excluded, self._tried)
        moves = next_moves(balancer, self._take(view), room, lambda: balancer.visits < _NODES_A_STEP)
        if moves:
            self._moved = True
            self._tried.update((move.task.service_id, move.task.slot, move.node_id) for move in moves)
            await self._store.update(lambda tx: _commit(tx, moves))
            for move in moves:
                _log.info("task %s is to move to node %s, to even out the load", move.task.name, move.node_id)
        elif self._left:
            self.due = now  # the step took long enough: let the loop do other work
        if under_way or moves:
            self.due = min(self.due, now + LOOK_AGAIN)  # in case the end of a move is missed
        return under_way + len(moves)

    def _take(self, view: View) -> Iterator[Service]:
        """Yield the services that are left in this pass, each once."""
        assert self._left is not None
        while self._left:
            service_id = next(iter(self._left))
            del self._left[service_id]
            service = view.services.get(service_id)
            if service is not None:
                yield service

    def _excluded(self, now: float) -> list[str]:
        """Return the nodes that have not been open for long; the next step is due when one has."""
        young = {node: since for node, since in self._open_since.items() if now - since < SETTLED_AFTER}
        if young:
            self.due = min(self.due, min(young.values()) + SETTLED_AFTER)
        return list(young)

    async def _end_pass(self, wanted: set[str]) -> None:
        """Start another pass if anything was moved; otherwise all is as even as possible, and requests are cleared.

        Automatic rebalancing waits for services that are in motion; a request concerns what runs.
        """
        view, now = self._store.view, self._clock.now()
        # Reset here, as the next pass may have no service.
        self._left, moved, self._moved = None, self._moved, False
        if moved:
            self.due = now
            return
        if self._is_automatic() and any(_in_motion(view, service_id) for service_id in wanted):
            self.due = min(self.due, now + LOOK_AGAIN)
        if any(service.rebalancing for service in view.services):
            await self._store.update(_clear_requests)


def _moving(value: object) -> bool:
    return isinstance(value, Task) and bool(value.moving_to) and value.live


def _automatic(cluster: Cluster) -> bool:
    return extensions.read_cluster(cluster.spec.labels).rebalance == "auto"


def _in_motion(view: View, service_id: str) -> bool:
    """Whether the service is being updated or a task of it is starting, so that its balance is not known yet."""
    service = view.services.get(service_id)
    status = service.update_status if service is not None else None
    if status is not None and status.state in ("updating", "rollback_started"):
        return True
    on_their_way = (t for t in view.tasks.of_service(service_id) if t.live and t.status.state < TaskState.RUNNING)
    return not all(task.finds_no_node for task in on_their_way)


def _commit(tx: Transaction, moves: list[Move]) -> None:
    for move in moves:
        task = tx.tasks.get(move.task.id)
        if task is not None and task.version == move.task.version:
            tx.put(msgspec.structs.replace(task, moving_to=move.node_id, moving_since=tx.now))


def _clear_requests(tx: Transaction) -> None:
    for service in [service for service in tx.services if service.rebalancing]:
        tx.put(msgspec.structs.replace(service, rebalancing=False))

"""Counters of the cluster's tasks by service, slot and node, updated by each change of the store.

Fed with every change they equal those that are built from the whole state (`tests/prop/test_overview.py`). So the cost
of a query is proportional to what is shown, not to what exists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container
from typing import TypeVar

from common.model import Node, Service, StoredObject, Task, TaskState
from common.model.service import STACK_LABEL
from common.model.update import ACTIVE, HALTED, UpdateState
from manager.domain.reservations import reservations_of
from manager.domain.update_status import state_of
from manager.orchestrate.reconcile.slots import age
from manager.overview.failures import HOUR_SECONDS, Failures
from manager.overview.marks import Mark, completed, failed, mark_of, mark_with
from manager.store.changes import Change
from manager.store.view import View

K = TypeVar("K")

SlotKey = int | str
"""A slot's number; of a global service, its node's id."""


class ServiceTally:
    """What is known of a service's tasks.

    `running` are those that run and are to, `wanted` all that are to and have not ended, `lost` those of them whose
    nodes are down; `newest` has the task that each slot shows, and `marks` counts these. `short_since`
    is when the service last came to have fewer tasks than it is to have (Unix seconds; 0: it has all), `completed_at`
    when a task last completed. `complaints` are those of `newest` that say an error.
    """

    __slots__ = (
        "complaints",
        "completed_at",
        "failures",
        "lost",
        "marks",
        "newest",
        "running",
        "service",
        "short_since",
        "wanted",
    )

    def __init__(self) -> None:
        self.service: Service | None = None
        self.running = 0
        self.lost = 0
        self.wanted = 0
        self.marks: dict[Mark, int] = {}
        self.newest: dict[SlotKey, Task] = {}
        self.complaints: dict[SlotKey, Task] = {}
        self.failures = Failures()
        self.short_since = 0.0
        self.completed_at = 0.0

    @property
    def desired(self) -> int:
        """How many tasks are to run, as `service ls` shows it."""
        mode = self.service.spec.mode if self.service is not None else None
        return self.wanted if mode is None else mode.desired(self.wanted, self.lost, self.running)

    @property
    def is_job(self) -> bool:
        return self.service is not None and self.service.spec.mode.is_job

    @property
    def is_short(self) -> bool:
        """Whether it lacks tasks; never for a job, whose tasks come and go."""
        return self.running < self.desired and not self.is_job

    @property
    def leaves(self) -> bool:
        """Whether it is being removed, or is gone while tasks of it are left."""
        return self.service is None or self.service.pending_delete

    def count(self, task: Task, by: int, down: Container[str]) -> None:
        if task.live:
            self.wanted += by
            if task.runs(down):
                self.running += by
            elif task.is_lost(down):
                self.lost += by


class NodeTally:
    """What is known of a node's tasks: `marks` of those that are placed there, and of what last ended in a slot.

    `placed` are the former, by their ids: when the node goes down or comes back, they are counted again. So are
    those `ahead`: slots show them, placed here as in the view, before their change has arrived.

    `cpu` (billionths of a core) and `memory` (bytes) are what the placed ones reserve. `since` is when the node came to
    its present state.
    """

    __slots__ = ("ahead", "cpu", "failures", "marks", "memory", "node", "placed", "since")

    def __init__(self) -> None:
        self.node: Node | None = None
        self.placed: dict[str, Task] = {}
        self.ahead: dict[str, Task] = {}
        self.marks: dict[Mark, int] = {}
        self.cpu = 0
        self.memory = 0
        self.failures = Failures()
        self.since = 0.0

    def count(self, task: Task, by: int, mark: Mark | None = None) -> None:
        """Count a task that is placed; `mark` is its mark, where that is known."""
        if by > 0:
            self.placed[task.id] = task
        else:
            self.placed.pop(task.id, None)
        add(self.marks, mark or mark_of(task), by)
        if task.spec.resources is not None:
            reserved = reservations_of(task)
            self.cpu += by * reserved.nano_cpus
            self.memory += by * reserved.memory_bytes


def add(counts: dict[K, int], key: K, by: int) -> None:
    """Add `by` to a count; a count of 0 is dropped."""
    count = counts.get(key, 0) + by
    if count:
        counts[key] = count
    else:
        counts.pop(key, None)


class Sums:
    """Totals of all services that are not being removed, and of all nodes.

    `marks` counts what their slots show, `stacks` the services of each stack, `nodes` the nodes by their states. `jobs`
    are the services that are jobs.
    """

    __slots__ = ("jobs", "marks", "nodes", "services", "stacks")

    def __init__(self) -> None:
        self.services = 0
        self.jobs: dict[str, None] = {}
        self.stacks: dict[str, int] = {}
        self.marks: dict[Mark, int] = {}
        self.nodes: dict[str, int] = {}

    def service(self, tally: ServiceTally, old: Service | None) -> None:
        """Count a tally's present service in place of `old`."""
        for service, by in ((old, -1), (tally.service, 1)):
            if service is None or service.pending_delete:
                continue
            self.services += by
            if stack := stack_of(service):
                add(self.stacks, stack, by)
            for mark, count in tally.marks.items():
                add(self.marks, mark, by * count)
            if by < 0:
                self.jobs.pop(service.id, None)
            elif service.spec.mode.is_job:
                self.jobs[service.id] = None

    def node(self, new: Node | None, old: Node | None) -> None:
        """Count a node in place of its old state."""
        for node, by in ((old, -1), (new, 1)):
            if node is not None:
                add(self.nodes, node.status.state, by)


def stack_of(service: Service) -> str:
    return service.spec.labels.get(STACK_LABEL, "")


def _counts_alike(old: Task, new: Task) -> bool:
    """Whether a change of a task leaves all numbers as they are, like most reports."""
    return (
        old.status.state is new.status.state
        and old.desired_state is new.desired_state
        and old.node_id == new.node_id
        and old.spec is new.spec
    )


class Counters:
    """All tallies, by the ids of services and nodes, and what is counted over all of them.

    `states` counts every task by its observed state, `sums` what is shown of all.
    `suspects` are the services that may be in trouble: short of tasks, with failures in the last hour, with an update.
    `unready` are the nodes that are not ready, `down` those of them that are down, `wrong_clocks` those whose clock is
    not the manager's. `touched_services` and `touched_nodes` collect whose tallies changed, for whoever empties them.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._heard = True
        self.services: dict[str, ServiceTally] = {}
        self.nodes: dict[str, NodeTally] = {}
        self.states: dict[TaskState, int] = {}
        self.sums = Sums()
        self.suspects: dict[str, None] = {}
        self.unready: dict[str, None] = {}
        self.down: set[str] = set()
        self.wrong_clocks: dict[str, None] = {}
        self.touched_services: dict[str, None] = {}
        self.touched_nodes: dict[str, None] = {}
        self._apply: dict[type[StoredObject], Callable[[Change, float], None]] = {
            Task: self._task,
            Service: self._service,
            Node: self._node,
        }

    def apply(self, change: Change, now: float) -> None:
        """Apply a change as it was stored; `now` (Unix seconds) is the time for removed objects."""
        kind = type(change.current)
        if kind in self._apply:
            self._apply[kind](change, now)

    def begin(self, values: Collection[StoredObject]) -> None:
        """Add objects that existed before. Their recent failures are known, but were counted by an earlier manager."""
        self._heard = False
        running: dict[str, float] = {}
        for value in values:
            if isinstance(value, Task) and self._runs(value):
                running[value.service_id] = value.updated_at
            else:
                self.apply(Change(old=None, new=value), value.updated_at)
        for service_id, at in running.items():
            self._note_shortness(service_id, self.services[service_id], at)
        self._heard = True

    def _runs(self, task: Task) -> bool:
        """Count an existing task if it runs as it should and is the only one of its slot; return whether it is.

        Most are like that. This is a shortcut of `_task`, in a fifth of the time.
        """
        status, node_id, running = task.status, task.node_id, TaskState.RUNNING
        if status.state is not running or task.desired_state is not running or status.err or not node_id:
            return False
        if node_id in self.down:
            return False
        tally = self.services.get(task.service_id) or self._tally(task.service_id)
        slot = task.slot or node_id
        if slot in tally.newest:
            return False
        tally.newest[slot] = task
        tally.wanted += 1
        tally.running += 1
        tally.marks[Mark.RUNNING] = tally.marks.get(Mark.RUNNING, 0) + 1
        if not tally.leaves:
            self.sums.marks[Mark.RUNNING] = self.sums.marks.get(Mark.RUNNING, 0) + 1
        (self.nodes.get(node_id) or self._on_node(node_id)).count(task, 1, Mark.RUNNING)
        self.states[running] = self.states.get(running, 0) + 1
        return True

    def refresh(self) -> None:
        """Mark the services and nodes that change with time only."""
        self.touched_services.update(self.suspects)
        self.touched_nodes.update((node_id, None) for node_id, tally in self.nodes.items() if tally.failures.last)

    def drop_suspects(self, now: float) -> None:
        """Drop services from the suspects that are no longer in trouble."""
        for service_id in [each for each in self.suspects if not self._suspicious(each, now)]:
            del self.suspects[service_id]

    def _suspicious(self, service_id: str, now: float) -> bool:
        tally = self.services.get(service_id)
        if tally is None:
            return False
        in_update = tally.service is not None and state_of(tally.service) in (
            *ACTIVE,
            *HALTED,
            UpdateState.ROLLBACK_COMPLETED,
        )
        short = bool(tally.short_since) or Mark.FAILED in tally.marks
        return in_update or short or bool(tally.failures.since(now - HOUR_SECONDS))

    # --- tasks ---

    def _task(self, change: Change, now: float) -> None:
        old, new = change.old, change.new
        assert isinstance(old, Task | None)
        assert isinstance(new, Task | None)
        task = new if new is not None else old
        assert task is not None
        known = self.services.get(task.service_id)
        if known is not None and old is not None and new is not None and _counts_alike(old, new):
            if old.status.err or new.status.err:
                self.touched_services[task.service_id] = None
            if new.placed:
                self.nodes[new.node_id].placed[new.id] = new
            self._show(known, old, new)
            return
        tally = self._tally(task.service_id)
        for value, by in ((old, -1), (new, 1)):
            if value is not None:
                add(self.states, value.status.state, by)
                tally.count(value, by, self.down)
                if value.placed:
                    self._on_node(value.node_id).count(value, by)
        self._show(tally, old, new)
        at = new.updated_at if new is not None else now
        if new is not None and failed(old, new):
            self._failed(tally, new, at)
        elif new is not None and completed(old, new):
            tally.completed_at = max(tally.completed_at, new.updated_at)
        self._note_shortness(task.service_id, tally, at)

    def _failed(self, tally: ServiceTally, task: Task, at: float) -> None:
        tally.failures.add(task, at, heard=self._heard)
        if task.node_id:
            self._on_node(task.node_id).failures.add(task, at, heard=self._heard)

    def _show(self, tally: ServiceTally, old: Task | None, new: Task | None) -> None:
        """Let a slot show its newest task that is not being removed."""
        task = new if new is not None else old
        assert task is not None
        slot: SlotKey = task.slot or task.node_id
        shown = tally.newest.get(slot)
        if new is not None and new.desired_state < TaskState.REMOVE:
            if (
                shown is None
                or (shown.id != new.id and age(shown) < age(new))
                or (shown.id == new.id and shown.version.index < new.version.index)
            ):
                self._swap(tally, slot, shown, new)
        elif shown is not None and shown.id == task.id:
            self._swap(tally, slot, shown, self._newest(task))

    def _newest(self, gone: Task) -> Task | None:
        """Return what a slot shows when its newest task is gone; the view may be ahead of the changes."""
        there = self._view.tasks.in_slot(gone.service_id, gone.slot, "" if gone.slot else gone.node_id)
        left = [task for task in there if task.desired_state < TaskState.REMOVE and task.id != gone.id]
        return max(left, key=age, default=None)

    def _swap(self, tally: ServiceTally, slot: SlotKey, shown: Task | None, instead: Task | None) -> None:
        alike = shown is not None and instead is not None and shown.id == instead.id and _counts_alike(shown, instead)
        for task, by in ((shown, -1), (instead, 1)):
            if task is not None and not alike:
                mark = mark_with(task, self.down)
                self._mark(tally, mark, by)
                if task.node_id and task.status.state.terminal:
                    add(self._on_node(task.node_id).marks, mark, by)
        if shown is not None and shown.placed:
            self._on_node(shown.node_id).ahead.pop(shown.id, None)
        if instead is not None and instead.placed and instead.id not in self._on_node(instead.node_id).placed:
            self._on_node(instead.node_id).ahead[instead.id] = instead
        if instead is None:
            tally.newest.pop(slot, None)
        else:
            tally.newest[slot] = instead
        if instead is not None and instead.status.err:
            tally.complaints[slot] = instead
        else:
            tally.complaints.pop(slot, None)

    def _mark(self, tally: ServiceTally, mark: Mark, by: int) -> None:
        add(tally.marks, mark, by)
        if not tally.leaves:
            add(self.sums.marks, mark, by)

    def _tally(self, service_id: str) -> ServiceTally:
        self.touched_services[service_id] = None
        tally = self.services.get(service_id)
        if tally is None:
            tally = self.services[service_id] = ServiceTally()
        return tally

    def _on_node(self, node_id: str) -> NodeTally:
        self.touched_nodes[node_id] = None
        tally = self.nodes.get(node_id)
        if tally is None:
            tally = self.nodes[node_id] = NodeTally()
        return tally

    def _note_shortness(self, service_id: str, tally: ServiceTally, at: float) -> None:
        """Note since when a service is short of tasks, and whether it may be in trouble."""
        if tally.leaves or not tally.is_short:
            tally.short_since = 0.0
        elif not tally.short_since:
            tally.short_since = at
        if tally.service is None:
            if not tally.newest and not tally.wanted:
                del self.services[service_id]
            return
        if tally.short_since or tally.failures.last is not None or tally.service.update_status is not None:
            self.suspects[service_id] = None

    # --- services and nodes ---

    def _service(self, change: Change, now: float) -> None:
        assert isinstance(change.new, Service | None)
        service_id = change.current.id
        tally = self._tally(service_id)
        before, tally.service = tally.service, change.new
        self.sums.service(tally, before)
        self._note_shortness(service_id, tally, change.new.updated_at if change.new is not None else now)

    def _node(self, change: Change, now: float) -> None:
        old, new = change.old, change.new
        assert isinstance(old, Node | None)
        assert isinstance(new, Node | None)
        node_id = change.current.id
        tally = self._on_node(node_id)
        before, tally.node = tally.node, new
        self.sums.node(new, before)
        is_down = new is not None and new.status.state == "down"
        if is_down is not (node_id in self.down):
            self._recount_node(node_id, tally, new.updated_at if new is not None else now)
        if new is None:
            self.unready.pop(node_id, None)
            self.wrong_clocks.pop(node_id, None)
            if not tally.marks and not tally.ahead:
                del self.nodes[node_id]
            return
        if old is None or old.status.state != new.status.state:
            tally.since = new.updated_at
        if new.status.state == "ready":
            self.unready.pop(node_id, None)
        else:
            self.unready[node_id] = None
        if new.clock_offset is None:
            self.wrong_clocks.pop(node_id, None)
        else:
            self.wrong_clocks[node_id] = None

    def _recount_node(self, node_id: str, tally: NodeTally, at: float) -> None:
        """Count a node's tasks again, as the node has gone down or come back."""
        tasks = {**tally.ahead, **tally.placed}
        for by in (-1, 1):
            for task in tasks.values():
                of = self._tally(task.service_id)
                if task.id in tally.placed:
                    of.count(task, by, self.down)
                shown = of.newest.get(task.slot or task.node_id)
                if shown is not None and shown.id == task.id:  # and may be ahead of what was heard
                    self._mark(of, mark_with(shown, self.down), by)
            if by < 0:
                self.down ^= {node_id}
        for service_id in {task.service_id: None for task in tasks.values()}:
            self._note_shortness(service_id, self._tally(service_id), at)

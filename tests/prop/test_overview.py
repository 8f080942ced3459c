"""Counters that heard of every change, late or not, are those that the whole state gives."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from common.model import Node, Service, Task, TaskState, TaskStatus
from common.model.node import NodeStatus
from common.model.service import (
    STACK_LABEL,
    Global,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from common.model.update import ACTIVE, UpdateState, UpdateStatus
from manager.api.services.view import status_view
from manager.domain.update_status import state_of
from manager.overview.counters import Counters, NodeTally, ServiceTally
from manager.overview.marks import Mark
from manager.overview.rows import node_tile, service_row, service_state
from manager.overview.summary import summarize
from manager.store.changes import ChangeSet
from manager.store.tables import Tables
from manager.store.transaction import Transaction

NODES, SERVICES, SLOTS = ["n1", "n2"], ["s1", "s2"], [0, 1, 2]
SPECS = (TaskSpec(), TaskSpec(resources=Resources(reservations=Reservations(nano_cpus=2, memory_bytes=3))))


@dataclass
class World:
    """A state, and the changes that the counters have yet to hear of."""

    tables: Tables = field(default_factory=Tables)
    unheard: deque[ChangeSet] = field(default_factory=deque)
    now: float = 1.0

    def __post_init__(self) -> None:
        self.counters = Counters(self.tables)

    def change(self, rng: Random) -> None:
        self.now += rng.choice([0.0, 1.0, 40.0])
        tx = Transaction(self.tables, self.now)
        for _ in range(rng.randint(1, 3)):
            rng.choice([change_task, change_task, change_task, change_service, change_node])(rng, tx)
        change_set = tx.change_set()
        tx.merge()
        self.tables.index = change_set.index
        self.unheard.append(change_set)

    def hear(self, count: int) -> None:
        for _ in range(min(count, len(self.unheard))):
            for change in self.unheard.popleft().changes:
                self.counters.apply(change, self.now)


def change_task(rng: Random, tx: Transaction) -> None:
    """Make a task, let it go on as observations and decisions may, or remove it."""
    task = rng.choice([*tx.tasks, None, None])
    if task is None:
        slot = rng.choice(SLOTS)
        made = Task(
            id=f"t{rng.randrange(10**9)}",
            service_id=rng.choice(SERVICES),
            slot=slot,
            node_id=rng.choice(NODES if not slot else ["", *NODES]),
            spec=rng.choice(SPECS),
            desired_state=rng.choice([TaskState.READY, TaskState.RUNNING]),
        )
        tx.put(made)
    elif rng.randint(0, 4) == 0:
        tx.remove(task)
    else:
        states = [state for state in TaskState if state >= task.status.state]
        wanted = [state for state in TaskState if state >= max(task.desired_state, TaskState.READY)]
        tx.put(
            replace(
                task,
                node_id=task.node_id or rng.choice(["", *NODES]),
                status=TaskStatus(state=rng.choice([task.status.state, *states]), err=rng.choice(["", "", "a", "b"])),
                desired_state=rng.choice([task.desired_state, *wanted]),
            )
        )


def change_service(rng: Random, tx: Transaction) -> None:
    service_id = rng.choice(SERVICES)
    service = tx.services.get(service_id)
    if service is not None and rng.random() < 0.5:
        if service.pending_delete:
            tx.remove(service)
        else:
            tx.put(replace(service, pending_delete=True))
        return
    if rng.randint(0, 4):
        replicated = ServiceMode(replicated=Replicated(replicas=rng.randint(0, 3)))
        mode = rng.choice([replicated, replicated, ServiceMode(global_=Global())])
    else:
        mode = ServiceMode(replicated_job=ReplicatedJob(total_completions=rng.randint(1, 3)))
    states = [UpdateState.UPDATING, UpdateState.PAUSED, UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED]
    update = rng.choice([None, None, UpdateStatus(state=rng.choice(states), completed_at=tx.now)])
    labels = rng.choice([{}, {STACK_LABEL: "shop"}, {STACK_LABEL: "blog"}])
    tx.put(Service(id=service_id, spec=ServiceSpec(name=service_id, labels=labels, mode=mode), update_status=update))


def change_node(rng: Random, tx: Transaction) -> None:
    node = tx.nodes.get(rng.choice(NODES))
    if node is not None and rng.randint(0, 3) == 0:
        tx.remove(node)
        return
    state = rng.choice(["ready", "down", "disconnected"])
    tx.put(Node(id=node.id if node is not None else rng.choice(NODES), status=NodeStatus(state=state)))


def of_service(tally: ServiceTally) -> object:
    shown = {slot: (task.id, task.version) for slot, task in tally.newest.items()}
    return tally.service, tally.running, tally.lost, tally.wanted, tally.marks, shown, bool(tally.short_since)


def of_node(tally: NodeTally) -> object:
    return tally.node, tally.marks, tally.cpu, tally.memory


def status_of(view: Tables, tally: ServiceTally) -> tuple[int, int]:
    """Return how many tasks of a service the lists of clients count as running, and as desired."""
    down = {node.id for node in view.nodes if node.status.state == "down"}
    assert tally.service is not None
    status = status_view(view, tally.service, down)
    return status["RunningTasks"], status["DesiredTasks"]


def facts(counters: Counters) -> object:
    """Return all that follows from the present state; since when something is so does not."""
    services = {key: of_service(tally) for key, tally in counters.services.items()}
    nodes = {key: of_node(tally) for key, tally in counters.nodes.items() if tally.node is not None or tally.marks}
    sums = counters.sums
    summed = (sums.services, set(sums.jobs), sums.stacks, sums.marks, sums.nodes)
    return services, nodes, counters.states, set(counters.unready), counters.down, summed


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_counters_follow_the_state(seed: int):
    rng, world = Random(seed), World()  # drawing each choice would take a minute
    for _ in range(rng.randint(1, 30)):
        world.change(rng)
        world.hear(rng.randint(0, 2))
    world.hear(len(world.unheard))
    fresh = Counters(world.tables)
    fresh.begin([*world.tables.nodes, *world.tables.services, *world.tables.tasks])
    assert facts(world.counters) == facts(fresh)
    for tally in fresh.services.values():
        if tally.service is not None and not tally.is_job:
            tasks = world.tables.tasks.of_service(tally.service.id)
            running, desired = status_of(world.tables, tally)
            assert tally.running == running
            if all(task.live or task.desired_state > TaskState.RUNNING for task in tasks):  # none awaits a successor
                assert tally.desired == desired


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_the_totals_are_those_of_all_services(seed: int):
    """The overview looks only at services of which there may be something to say; the others are as wanted."""
    rng, world = Random(seed), World()
    for _ in range(rng.randint(1, 30)):
        world.change(rng)
        world.hear(rng.randint(0, 2))
        counters, now = world.counters, world.now
        totals = summarize(counters, world.tables, (), now).totals
        there = [tally for tally in counters.services.values() if not tally.leaves]
        as_wanted = sum(service_state(tally, now).as_wanted for tally in there)
        assert (totals.services, totals.services_as_wanted) == (len(there), as_wanted)
        updates = [tally for tally in there if tally.service is not None and state_of(tally.service) in ACTIVE]
        assert totals.updates == len(updates)
        stacks = {tally.service.spec.labels.get(STACK_LABEL, "") for tally in there if tally.service is not None}
        assert totals.stacks == len(stacks - {""})
        shown = sum((Counter(tally.marks) for tally in there), Counter[Mark]())
        assert sum(totals.tasks.values()) == shown.total() - shown[Mark.STOPPED]
        states = [tally.node.status.state for tally in counters.nodes.values() if tally.node is not None]
        assert totals.nodes == Counter(states)


def rows(counters: Counters, now: float) -> dict[str, object]:
    """Return what is shown of each service and node."""
    shown: dict[str, object] = {key: service_row(tally, now) for key, tally in counters.services.items()}
    return shown | {key: node_tile(tally, now) for key, tally in counters.nodes.items()}


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_what_is_shown_otherwise_is_looked_at(seed: int):
    """A row that is other than before is among those that were touched: the feed looks at no others."""
    rng, world = Random(seed), World()
    for _ in range(rng.randint(1, 30)):
        world.change(rng)
        counters = world.counters
        before = rows(counters, world.now)
        counters.touched_services.clear()
        counters.touched_nodes.clear()
        world.hear(1)
        after = rows(counters, world.now)
        other = {key for key in {**before, **after} if before.get(key) != after.get(key)}
        assert other <= {*counters.touched_services, *counters.touched_nodes}

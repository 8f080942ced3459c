"""Scheduler: time to place 1k, 10k and 100k tasks, one service a task, on 1,000 nodes.

The workload is that of SwarmKit's own benchmark (`manager/scheduler/scheduler_test.go`, `BenchmarkScheduler1kNodes…`).
Timed is the scheduler's own work from the loaded state on: each decision, with the new tasks that it makes, and taking
the change set that commits it into the load. Not timed: the store's commit, and reading the state at start (a column
of its own).
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from common.model import Node, Service, Task, TaskState, TaskStatus, Volume, VolumeClaim
from common.model.container import ContainerSpec, Mount
from common.model.node import EngineDescription, NodeDescription, NodeResources, NodeSpec, NodeStatus, Plugin
from common.model.service import (
    Placement,
    PlacementPreference,
    Reservations,
    Resources,
    ServiceSpec,
    SpreadOver,
    TaskSpec,
)
from common.model.volume import claim_id, volume_id
from manager.schedule.load import ClusterLoad
from manager.schedule.scheduler import TASKS_A_DECISION, schedule
from manager.store.changes import Change, ChangeSet
from manager.store.tables import Tables
from tests.bench.table import print_table

SWARMKIT_SECONDS = {(1000, 1000): 0.19, (1000, 10_000): 1.7, (1000, 100_000): 20.8}
DEFAULTS = {"plain": ([100, 1000, 5000], [1000, 10_000, 100_000]), "other": ([1000, 5000], [1000, 10_000])}
TARGET_MICROSECONDS = 20.0

SPECS = {
    "plain": TaskSpec(),
    "reserving": TaskSpec(resources=Resources(reservations=Reservations(nano_cpus=1_000, memory_bytes=4096))),
    "constrained": TaskSpec(placement=Placement(constraints=("node.role==worker", "node.labels.zone!=z9"))),
    "preferring": TaskSpec(
        placement=Placement(preferences=(PlacementPreference(spread=SpreadOver(spread_descriptor="node.labels.zone")),))
    ),
    "pinned": TaskSpec(),  # each service to one node, see `_spec_of`
    "claimed": TaskSpec(container_spec=ContainerSpec(image="db", mounts=(Mount(source="data", target="/data"),))),
}


@dataclass(frozen=True)
class Result:
    load_seconds: float
    seconds: float
    decisions: int
    longest_seconds: float
    spread: int


def cluster(nodes: int, tasks: int, per_service: int, kind: str) -> Tables:
    """Make a state of ready nodes and of tasks that wait, `per_service` of one service each."""
    view = Tables()
    for number in range(nodes):
        view.of(Node).put(_node(number))
    status = TaskStatus(state=TaskState.PENDING, message="pending task scheduling")
    for number in range(tasks):
        service = f"service{number // per_service:020}"
        task = Task(
            id=f"task{number:021}",
            service_id=service,
            service_name=service,
            slot=number % per_service + 1,
            spec=_spec_of(kind, number // per_service % nodes),
            status=status,
            desired_state=TaskState.RUNNING,
        )
        view.of(Task).put(task)
        if number % per_service == 0:
            view.of(Service).put(Service(id=service, spec=ServiceSpec(name=service)))
    if kind == "claimed":
        _claim(view)
    return view


def _claim(view: Tables) -> None:
    """Give each node a volume `data`, and each task's slot its data in one of them."""
    nodes = [node.id for node in view.nodes]
    for node_id in nodes:
        view.of(Volume).put(
            Volume(id=volume_id(node_id, "data"), name="data", node_id=node_id, data_id="d" * 32, generation=1)
        )
    for number, task in enumerate(list(view.tasks)):
        claim = claim_id(task.service_name, task.slot, "data")
        bound = VolumeClaim(
            id=claim,
            service=task.service_name,
            slot=task.slot,
            volume="data",
            node_id=nodes[number % len(nodes)],
            bound=True,
        )
        view.of(VolumeClaim).put(bound)


def _spec_of(kind: str, node: int) -> TaskSpec:
    if kind == "pinned":
        return TaskSpec(placement=Placement(constraints=(f"node.hostname==host{node}",)))
    return SPECS[kind]


def _node(number: int) -> Node:
    plugins = (Plugin(type="Volume", name="local"), Plugin(type="Network", name="overlay"))
    return Node(
        id=f"node{number:021}",
        agent=True,
        spec=NodeSpec(labels={"zone": f"z{number % 3}"}),
        status=NodeStatus(state="ready"),
        description=NodeDescription(
            hostname=f"host{number}",
            resources=NodeResources(nano_cpus=64_000_000_000, memory_bytes=1 << 38),
            engine=EngineDescription(plugins=plugins),
        ),
    )


def run(view: Tables) -> Result:
    """Schedule everything that waits, decision by decision, committing each into the view and the load."""
    started = time.perf_counter()
    load = ClusterLoad.of(view)
    loaded = time.perf_counter() - started
    seconds, longest, decisions = 0.0, 0.0, 0
    groups = dict.fromkeys(load.pending)
    while groups:
        started = time.perf_counter()
        batch = list(islice(groups, TASKS_A_DECISION))
        for group in batch:
            del groups[group]
        result = schedule(view, load, batch, now=1000.0)
        decided = time.perf_counter() - started
        changes = _commit(view, result.decision.put)
        started = time.perf_counter()
        for change in changes.changes:
            load.apply(change)
        seconds += decided + time.perf_counter() - started
        longest = max(longest, decided)
        decisions += 1
        groups.update(dict.fromkeys(result.more))
    totals = [node.total for node in load.nodes.values()]
    assert not load.pending, "tasks were left without a node"
    return Result(loaded, seconds, decisions, longest, max(totals) - min(totals))


def _commit(view: Tables, put: Sequence[object]) -> ChangeSet:
    changes = []
    for task in put:
        assert isinstance(task, Task)
        changes.append(Change(old=view.tasks.get(task.id), new=task))
        view.of(Task).put(task)
    return ChangeSet(index=1, changes=tuple(changes))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run scheduler", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+")
    parser.add_argument("--tasks", type=int, nargs="+")
    parser.add_argument("--spec", choices=SPECS, nargs="+", default=list(SPECS))
    options = parser.parse_args(argv)
    for name in options.spec:
        for per_service in (1, 1000) if name == "plain" else (1,):
            nodes, tasks = DEFAULTS["plain" if name == "plain" else "other"]
            _measure(options.nodes or nodes, options.tasks or tasks, per_service, name)
    return 0


def _measure(nodes: Sequence[int], tasks: Sequence[int], per_service: int, name: str) -> None:
    rows = []
    for node_count in nodes:
        for task_count in tasks:
            view = cluster(node_count, task_count, per_service, name)
            gc.collect()
            result = run(view)
            peer = SWARMKIT_SECONDS.get((node_count, task_count)) if (per_service, name) == (1, "plain") else None
            rows.append(_row(node_count, task_count, peer, result))
    services = "one service a task" if per_service == 1 else f"{per_service:,} tasks a service"
    print_table(
        f"Scheduler, {services}, {name} tasks",
        ["nodes", "tasks", "seconds", "us/task", "SwarmKit", "ratio", "longest ms", "load ms", "max-min"],
        rows,
        [
            f"target: {TARGET_MICROSECONDS:.0f} us/task. max-min: tasks on the fullest node less the emptiest.",
            "SwarmKit: seconds measured earlier on this kind of machine, one service a task, not in this run.",
        ],
    )


def _row(nodes: int, tasks: int, peer: float | None, result: Result) -> list[object]:
    return [
        nodes,
        tasks,
        result.seconds,
        result.seconds / tasks * 1e6,
        f"{peer:g}" if peer else "",
        f"{peer / result.seconds:.0f} x" if peer else "",
        result.longest_seconds * 1e3,
        result.load_seconds * 1e3,
        result.spread,
    ]

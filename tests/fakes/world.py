"""A cluster's state without store, loop or clock: deciders are run on it by hand, one decision after the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import TypeAlias

import msgspec

from common.clock import SECOND
from common.model import Cluster, Node, Service, StoredObject, Task, TaskState, TaskStatus
from common.model.cluster import ClusterSpec, Orchestration
from common.model.container import ContainerSpec
from common.model.naming import Version
from common.model.node import NodeDescription, NodeSpec, NodeStatus
from common.model.service import (
    Global,
    GlobalJob,
    JobStatus,
    Placement,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from manager.domain.update_status import after_change
from manager.orchestrate.reconcile import services
from manager.store.changes import Change, ChangeSet, Decision
from manager.store.observation import check, observe
from manager.store.tables import Tables
from manager.store.transaction import Transaction
from manager.store.view import View

Decide: TypeAlias = Callable[[View, Collection[str], float, random.Random], Decision]

replace = msgspec.structs.replace


def policy(
    condition: str = "any", delay: float = 5, attempts: int | None = None, window: float | None = None
) -> RestartPolicy:
    """Make a restart policy with its durations in seconds."""
    return RestartPolicy(
        condition=condition,
        delay=int(delay * SECOND),
        max_attempts=attempts,
        window=None if window is None else int(window * SECOND),
    )


def update_config(parallelism: int = 1, delay: float = 0, monitor: float = 5, **other: object) -> UpdateConfig:
    """Make an update configuration with its durations in seconds."""
    return UpdateConfig(
        parallelism=parallelism,
        delay=int(delay * SECOND),
        monitor=int(monitor * SECOND),
        **other,  # type: ignore[arg-type]
    )


def template(image: str = "web:1", constraints: tuple[str, ...] = (), **other: object) -> TaskSpec:
    placement = Placement(constraints=constraints) if constraints else None
    return TaskSpec(container_spec=ContainerSpec(image=image), placement=placement, **other)  # type: ignore[arg-type]


class World:
    """Tables, and the instant `now`. Every decision is applied and checked against the rules of tasks."""

    def __init__(self, history: int = 5) -> None:
        self.tables = Tables()
        self.now = 1000.0
        self.rng = random.Random(1)
        self.put(Cluster(id="c", spec=ClusterSpec(orchestration=Orchestration(task_history_retention_limit=history))))

    # --- what there is ---

    def put(self, *values: StoredObject) -> None:
        self._apply(Decision(put=values))

    def remove(self, *values: StoredObject) -> None:
        self._apply(Decision(remove=values))

    def transact(self, fn: Callable[[Transaction], None]) -> ChangeSet:
        """Commit what `fn` changes in a transaction, and return it."""
        tx = Transaction(self.tables, self.now)
        fn(tx)
        changes = tx.change_set()
        for change in changes.changes:
            _check(change)
        if changes.changes:
            tx.merge()
            self.tables.index = changes.index
        return changes

    def node(self, node_id: str, state: str = "ready", **spec: object) -> Node:
        node = Node(
            id=node_id,
            spec=NodeSpec(**spec),  # type: ignore[arg-type]
            description=NodeDescription(hostname=node_id),
            status=NodeStatus(state=state),
            agent=True,
            certificate_serials=("1",),
        )
        self.put(node)
        return node

    def nodes(self, *node_ids: str) -> None:
        for node_id in node_ids:
            self.node(node_id)

    def replicated(self, replicas: int | None, spec: TaskSpec | None = None, **other: object) -> Service:
        return self._service(ServiceMode(replicated=Replicated(replicas=replicas)), spec, other)

    def global_(self, spec: TaskSpec | None = None, **other: object) -> Service:
        return self._service(ServiceMode(global_=Global()), spec, other)

    def job(
        self, total: int, concurrent: int = 1, spec: TaskSpec | None = None, *, everywhere: bool = False
    ) -> Service:
        """Make a job, on each node with `everywhere`."""
        counted = ReplicatedJob(max_concurrent=concurrent, total_completions=total)
        mode = ServiceMode(global_job=GlobalJob()) if everywhere else ServiceMode(replicated_job=counted)
        self._service(mode, spec, {})
        self.put(replace(self.service, job_status=JobStatus(last_execution=self.now)))
        return self.service

    def force(self) -> None:
        """Begin another execution of a job, as the API does."""
        old = self.service
        index = old.job_status.job_iteration.index if old.job_status is not None else 0
        status = JobStatus(job_iteration=Version(index=index + 1), last_execution=self.now)
        template = replace(old.spec.task_template, force_update=index + 1)
        spec = replace(old.spec, task_template=template)
        self.put(replace(old, spec=spec, spec_version=self.tables.index + 1, job_status=status))

    def _service(self, mode: ServiceMode, spec: TaskSpec | None, other: dict[str, object]) -> Service:
        body = ServiceSpec(name="web", task_template=spec or template(), mode=mode, **other)  # type: ignore[arg-type]
        self.put(Service(id="s", spec=body, spec_version=self.tables.index + 1))
        return self.service

    @property
    def service(self) -> Service:
        service = self.tables.services.get("s")
        assert service is not None
        return service

    def change(self, spec: TaskSpec | None = None, **other: object) -> None:
        """Change the service as the API does: the old spec is kept, an update status cleared."""
        old = self.service
        body = replace(old.spec, task_template=spec or old.spec.task_template, **other)
        version = self.tables.index + 1 if spec else old.spec_version
        status = None if spec else after_change(old, body)
        self.put(replace(old, spec=body, previous_spec=old.spec, spec_version=version, update_status=status))

    def scale(self, replicas: int) -> None:
        self.change(mode=ServiceMode(replicated=Replicated(replicas=replicas)))

    # --- what is seen ---

    @property
    def tasks(self) -> list[Task]:
        return list(self.tables.tasks)

    @property
    def live(self) -> list[Task]:
        return [task for task in self.tasks if task.live]

    def task(self, task: Task) -> Task:
        found = self.tables.tasks.get(task.id)
        assert found is not None
        return found

    def in_slot(self, slot: int) -> list[Task]:
        return sorted((task for task in self.tasks if task.slot == slot), key=lambda task: task.created_at)

    # --- what happens ---

    def decide(self, decider: Decide = services.decide, *keys: str) -> Decision:
        decision = decider(self.tables, keys or ("s",), self.now, self.rng)
        self._apply(decision)
        return decision

    def settle(self) -> None:
        """Decide until nothing is left to do now."""
        for _ in range(1000):
            decision = self.decide()
            if not decision and min(decision.wake_at.values(), default=self.now + 1) > self.now:
                return
        raise AssertionError("the decider does not come to an end")

    def see(self, task: Task, state: TaskState, node_id: str = "", err: str = "") -> Task:
        """Let a task be seen in a state, after the scheduler gave it a node."""
        current = self.task(task)
        if node_id and not current.node_id:
            current = replace(current, node_id=node_id)
        seen = observe(current, TaskStatus(state=state, timestamp=self.now, err=err), self.now)
        assert seen is not None, f"{task.id} was seen in {current.status.state.name} already"
        self.put(seen)
        return self.task(task)

    def run(self, *node_ids: str) -> None:
        """Let all live tasks that are to run do so; those without a node are spread over `node_ids`."""
        for number, task in enumerate(self.live):
            if task.desired_state is TaskState.RUNNING and task.status.state < TaskState.RUNNING:
                self.see(task, TaskState.RUNNING, node_ids[number % len(node_ids)] if node_ids else "n1")

    def stopped(self) -> None:
        """Let all tasks stop that were told to."""
        for task in self.tasks:
            if task.desired_state > TaskState.RUNNING and not task.status.state.terminal:
                self.see(task, TaskState.SHUTDOWN)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def _apply(self, decision: Decision) -> None:
        self.transact(lambda tx: tx.apply(decision))


def _check(change: Change) -> None:
    if isinstance(change.old, Task) and isinstance(change.new, Task):
        check(change.old, change.new)

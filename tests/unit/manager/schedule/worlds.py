"""Clusters for the scheduler's unit tests, said in few words."""

from __future__ import annotations

from msgspec.structs import replace

from common.model import Node, StoredObject, Task, TaskState, TaskStatus
from common.model.node import (
    EngineDescription,
    NodeDescription,
    NodeResources,
    NodeSpec,
    NodeStatus,
    PlainContainers,
    Plugin,
)
from common.model.service import (
    DiscreteResourceSpec,
    GenericResource,
    NamedResourceSpec,
    Placement,
    PlacementPreference,
    Platform,
    Reservations,
    Resources,
    SpreadOver,
    TaskSpec,
)
from manager.schedule.load import ClusterLoad
from manager.schedule.scheduler import Round, schedule
from manager.store.changes import Change
from manager.store.tables import Tables

NOW = 1000.0


def node(
    name: str,
    *,
    cpus: int = 0,
    memory: int = 0,
    generic: tuple[GenericResource, ...] = (),
    labels: dict[str, str] | None = None,
    plugins: tuple[Plugin, ...] = (),
    platform: Platform | None = None,
    state: str = "ready",
    availability: str = "active",
    agent: bool = True,
    encryption: str = "",
    ipv6: bool = True,
    plain: PlainContainers | None = None,
) -> Node:
    return Node(
        id=name,
        agent=agent,
        spec=NodeSpec(labels=labels or {}, availability=availability),
        status=NodeStatus(state=state),
        description=NodeDescription(
            hostname=name,
            platform=platform or Platform(),
            resources=NodeResources(nano_cpus=cpus, memory_bytes=memory, generic_resources=generic),
            engine=EngineDescription(plugins=plugins),
            encryption=encryption,
            ipv6=ipv6,
            plain=plain or PlainContainers(),
        ),
    )


def count(kind: str, value: int) -> GenericResource:
    return GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind=kind, value=value))


def thing(kind: str, value: str) -> GenericResource:
    return GenericResource(named_resource_spec=NamedResourceSpec(kind=kind, value=value))


def reserving(cpus: int = 0, memory: int = 0, generic: tuple[GenericResource, ...] = ()) -> TaskSpec:
    wanted = Reservations(nano_cpus=cpus, memory_bytes=memory, generic_resources=generic)
    return TaskSpec(resources=Resources(reservations=wanted))


def placed_by(*constraints: str, spread: tuple[str, ...] = (), most: int = 0) -> TaskSpec:
    preferences = tuple(PlacementPreference(spread=SpreadOver(spread_descriptor=each)) for each in spread)
    return TaskSpec(placement=Placement(constraints=constraints, preferences=preferences, max_replicas=most))


def task(name: str, service: str = "web", spec: TaskSpec | None = None, **more: object) -> Task:
    """Make a task that waits, unless `more` says otherwise."""
    waits = Task(
        id=name,
        service_id=service,
        service_name=service,
        slot=1,
        spec=spec or TaskSpec(),
        status=TaskStatus(state=TaskState.PENDING),
        desired_state=TaskState.RUNNING,
    )
    return replace(waits, **more)


def tasks(amount: int, service: str = "web", spec: TaskSpec | None = None, **more: object) -> list[Task]:
    return [task(f"{service}{number:03}", service, spec, **more) for number in range(amount)]


def running(name: str, node_id: str, service: str = "old", spec: TaskSpec | None = None, **more: object) -> Task:
    return task(name, service, spec, **{"node_id": node_id, "status": TaskStatus(state=TaskState.RUNNING), **more})


def failed(name: str, node_id: str, service: str = "web", at: float = NOW - 1) -> Task:
    """Make a task that the manager saw to have failed then; its worker's clock is an hour late."""
    status = TaskStatus(state=TaskState.FAILED, timestamp=at - 3600)
    return task(name, service, node_id=node_id, status=status, updated_at=at)


class World:
    """A state and its load; `run` decides until nothing more can be placed, and commits."""

    def __init__(self, *values: StoredObject) -> None:
        self.view = Tables()
        self.load = ClusterLoad()
        self.put(*values)

    def put(self, *values: StoredObject) -> None:
        for value in values:
            table = self.view.of(type(value))
            self.load.apply(Change(old=table.get(value.id), new=value))
            table.put(value)

    def decide(self, now: float = NOW, limit: int = 100) -> Round:
        result = schedule(self.view, self.load, list(self.load.pending), now, limit=limit)
        self.put(*result.decision.put)
        return result

    def nodes_of(self, service: str = "web") -> list[str]:
        """Return where the service's tasks were put, in order."""
        assigned = [t for t in self.view.tasks.of_service(service) if t.status.state == TaskState.ASSIGNED]
        return sorted(t.node_id for t in assigned)

    def error_of(self, task_id: str) -> str:
        found = self.view.tasks.get(task_id)
        assert found is not None
        return found.status.err

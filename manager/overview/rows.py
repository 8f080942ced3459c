"""What is shown of a node, of a service and of a task: rows small enough to send all that there are.

Instants are Unix seconds. Counts that are zero, and what does not apply, are left out. Nodes and services are called by
the first twelve characters of their ids, which every route takes: of the tiles of 1,000 nodes whole ids would be half.

In the boxes of a node or a service a slot has one box, that of its newest task: earlier failures are a number. A node
shows also what it has still to stop.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec

from common.ids import SHORT_ID
from common.model import Service, Task
from common.model.naming import Model
from common.model.update import ACTIVE, HALTED
from common.text.image_names import familiar, is_id
from common.text.quantities import NANO_CPUS
from common.wire.usage_messages import HostUsage
from manager.domain.clock_offset import status_message
from manager.domain.update_status import halted, state_of
from manager.overview.counters import Counters, NodeTally, ServiceTally, stack_of
from manager.overview.failures import HOUR_SECONDS
from manager.overview.marks import PLACED, Mark, mark_of, mark_with
from manager.overview.usage import HostSample
from manager.store.view import View


class NodeTile(Model):
    """A node. `tasks` counts them by their marks, `failures` those of the last hour.

    `cores` and `memory` are what the host has, `reserved_cores` and `reserved_memory` what its tasks are sure to get;
    memory in bytes. `lacks` is how many rights or tools its worker misses. `since` is when it came to its `state`.

    Of what was measured in the last half minute: `cpu` is the share of its cores that was busy, `memory_used`, `disk`
    and `disk_used` are bytes, the disk being the engine's, `pressure` is the highest share of time that something
    waited for cores, memory or disk.
    """

    id: str
    name: str
    state: str
    since: float = 0.0
    message: str = ""
    availability: str = "active"
    manager: bool = False
    agent: bool = True
    labels: dict[str, str] = {}
    tasks: dict[Mark, int] = {}
    failures: int = 0
    cores: float = 0.0
    memory: int = 0
    reserved_cores: float = 0.0
    reserved_memory: int = 0
    lacks: int = 0
    cpu: float | None = msgspec.field(default=None, name="CPU")
    memory_used: int = 0
    disk: int = 0
    disk_used: int = 0
    pressure: float = 0.0


def node_tile(tally: NodeTally, now: float, sample: HostSample | None = None) -> NodeTile | None:
    """Return a node's tile, with what its host used last; None when its record is gone."""
    node = tally.node
    if node is None:
        return None
    resources = node.description.resources
    return NodeTile(
        id=node.id[:SHORT_ID],
        name=node.name,
        state=node.status.state,
        since=round(tally.since, 3),
        message=status_message(node),
        availability=node.spec.availability,
        manager=node.manager_status is not None,
        agent=node.agent,
        labels=node.spec.labels,
        tasks=_where_lost(tally.marks) if node.status.state == "down" else dict(tally.marks),
        failures=tally.failures.since(now - HOUR_SECONDS),
        cores=resources.nano_cpus / NANO_CPUS,
        memory=resources.memory_bytes,
        reserved_cores=round(tally.cpu / NANO_CPUS, 3),
        reserved_memory=tally.memory,
        lacks=len(node.description.lacks),
        **({} if sample is None else _used(sample.usage)),
    )


def _used(usage: HostUsage) -> dict[str, Any]:
    pressures = (usage.pressure_cpu, usage.pressure_memory, usage.pressure_io)
    return {
        "cpu": None if usage.cpu is None else round(usage.cpu, 3),
        "memory_used": usage.memory_total - usage.memory_available,
        "disk": usage.disk_total,
        "disk_used": usage.disk_total - usage.disk_available,
        "pressure": round(max(each or 0.0 for each in pressures), 3),
    }


def _where_lost(marks: dict[Mark, int]) -> dict[Mark, int]:
    """Return the marks of a node that is down: nothing is known of what was placed there."""
    placed = sum(count for mark, count in marks.items() if mark in PLACED)
    ended = {mark: count for mark, count in marks.items() if mark not in PLACED}
    return {**ended, Mark.LOST: placed + ended.get(Mark.LOST, 0)} if placed else ended


class ServiceState(StrEnum):
    """How a service stands, the worst first: the order in which services are listed."""

    DOWN = "down"
    FAILED = "failed"
    SHORT = "short"
    HALTED = "halted"
    UPDATING = "updating"
    STARTING = "starting"
    WELL = "well"
    COMPLETED = "completed"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    @property
    def as_wanted(self) -> bool:
        return self in (ServiceState.WELL, ServiceState.COMPLETED)


_RANKS = {state: number for number, state in enumerate(ServiceState)}
# A service that lacks tasks for less long is not in trouble: its tasks are on their way.
PATIENCE = 30.0


class ServiceRow(Model):
    """A service. `running` of `desired` tasks run; of a job, `completed` of `desired` have completed.

    `tasks` counts the slots by the mark that each shows, `failures` those of the last hour. `update` is Docker's state
    of an update that goes on or halts. `short_since` is when it last came to have too few tasks. `error` is what the
    newest task that waits or failed says.
    """

    id: str
    name: str
    state: ServiceState
    stack: str = ""
    mode: str = "replicated"
    image: str = ""
    running: int = 0
    desired: int = 0
    completed: int = 0
    tasks: dict[Mark, int] = {}
    failures: int = 0
    update: str = ""
    short_since: float = 0.0
    error: str = ""
    changed_at: float = 0.0


def service_row(tally: ServiceTally, now: float) -> ServiceRow | None:
    """Return a service's row; None when it is gone for clients."""
    service = tally.service
    if service is None or tally.leaves:
        return None
    state, update = service_state(tally, now), state_of(service)
    job = service.spec.mode.replicated_job
    return ServiceRow(
        id=service.id[:SHORT_ID],
        name=service.name,
        state=state,
        stack=stack_of(service),
        mode=service.spec.mode.name,
        image=image_of(service),
        running=tally.running,
        desired=job.total if job is not None else tally.desired,
        completed=tally.marks.get(Mark.COMPLETED, 0),
        tasks={mark: count for mark, count in tally.marks.items() if mark is not Mark.STOPPED},
        failures=tally.failures.since(now - HOUR_SECONDS),
        update=update if update in (*ACTIVE, *HALTED) else "",
        short_since=round(tally.short_since, 3),
        error=_said(tally, service, state),
        changed_at=round(service.updated_at, 3),
    )


def _said(tally: ServiceTally, service: Service, state: ServiceState) -> str:
    if state.as_wanted:
        return ""
    error = error_of(tally)
    if state is ServiceState.HALTED and not error and service.update_status is not None:
        return halted(service.update_status)[:LONGEST_ERROR]
    return error


def service_state(tally: ServiceTally, now: float) -> ServiceState:
    """Say how a service stands. What it lacks only because it was just changed is not trouble yet."""
    assert tally.service is not None
    update = state_of(tally.service)
    if tally.is_job:
        return _job_state(tally)
    if update in HALTED:
        return ServiceState.DOWN if tally.desired and not tally.running else ServiceState.HALTED
    if not tally.is_short:
        return ServiceState.UPDATING if update in ACTIVE else ServiceState.WELL
    troubled = Mark.WAITING in tally.marks or Mark.FAILED in tally.marks or _fails(tally)
    if not troubled and now - tally.short_since < PATIENCE:
        return ServiceState.UPDATING if update in ACTIVE else ServiceState.STARTING
    if not tally.running:
        return ServiceState.DOWN
    return ServiceState.UPDATING if update in ACTIVE and not troubled else ServiceState.SHORT


def _fails(tally: ServiceTally) -> bool:
    """Whether the last failure came since the service lacks tasks."""
    return tally.failures.last_at >= tally.short_since > 0


def _job_state(tally: ServiceTally) -> ServiceState:
    if Mark.FAILED in tally.marks:
        return ServiceState.FAILED
    if tally.wanted and tally.running < tally.wanted:
        return ServiceState.STARTING
    return ServiceState.WELL if tally.wanted else ServiceState.COMPLETED


def error_of(tally: ServiceTally) -> str:
    """Return what the newest task says that waits or failed; else the last failure."""
    task = max(tally.complaints.values(), key=lambda each: each.updated_at, default=tally.failures.last)
    return task.status.err[:LONGEST_ERROR] if task is not None else ""


LONGEST_ERROR = 300


def image_of(service: Service) -> str:
    """Return the image's name as people say it, without the digest that it is pinned to."""
    container = service.spec.task_template.container_spec
    return short_image(container.image) if container is not None else ""


@lru_cache(4096)
def short_image(reference: str) -> str:
    return reference if is_id(reference) or not reference else familiar(reference.partition("@")[0])


class TaskBox(Model, array_like=True):
    """A task in a row of values, in the order of `BOX_COLUMNS`; `since` is when it came to its mark.

    `id` is whole: tasks are many, and to look one up by a part of its id takes long. `node` is empty before it has one.
    `error` is what it says, if anything.
    """

    id: str
    service: str
    slot: int
    node: str
    mark: Mark
    since: float
    error: str = ""


BOX_COLUMNS = ("ID", "ServiceID", "Slot", "NodeID", "Mark", "Since", "Error")


def task_box(task: Task, down: Container[str] = ()) -> TaskBox:
    """Return a task's box; `down` are the ids of the nodes that are."""
    return TaskBox(
        id=task.id,
        service=task.service_id[:SHORT_ID],
        slot=task.slot,
        node=task.node_id[:SHORT_ID],
        mark=mark_with(task, down),
        since=round(task.updated_at, 1),
        error=task.status.err[:LONGEST_ERROR],
    )


def boxes_of_node(node_id: str, counters: Counters, view: View) -> Iterator[TaskBox]:
    """Yield the boxes of a node; of one that is down, what was placed there is lost.

    They are those of the moment in which the first is asked for, as with the other boxes.
    """
    for task in tuple(view.tasks.on_node(node_id)):
        tally = counters.services.get(task.service_id)
        shown = tally.newest.get(task.slot or task.node_id) if tally is not None else None
        newest = shown is not None and shown.id == task.id and mark_of(task) is not Mark.STOPPED
        if newest or task.placed:
            yield task_box(task, counters.down)


def boxes_of_service(service_id: str, counters: Counters, _: View) -> Iterator[TaskBox]:
    """Yield the boxes of a service's slots."""
    tally = counters.services.get(service_id)
    for task in tuple(tally.newest.values()) if tally is not None else ():
        if mark_of(task) is not Mark.STOPPED:
            yield task_box(task, counters.down)


def waiting_boxes(counters: Counters) -> Iterator[TaskBox]:
    """Yield the boxes of the tasks that have no node."""
    waiting = [tally for tally in counters.services.values() if Mark.WAITING in tally.marks]
    for task in [task for tally in waiting for task in tally.newest.values() if mark_of(task) is Mark.WAITING]:
        yield task_box(task)

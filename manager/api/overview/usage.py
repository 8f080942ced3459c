"""GET /nodes/{id}/usage and /services/{id}/usage: what hosts and tasks use, now and over the last hour."""

from __future__ import annotations

import asyncio
import math

import msgspec

from common.model.client import Role
from common.model.naming import Model
from common.text.quantities import NANO_CPUS
from common.wire.usage_messages import HostUsage
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.lookup import find_node, find_service
from manager.api.router import Route
from manager.overview.usage import STEP_SECONDS, HostSample

Columns = dict[str, list[float | None]]


class HostNow(Model):
    """What a host uses; shares are from 0 to 1, the network is in bytes a second."""

    at: float
    cpu: float | None = msgspec.field(default=None, name="CPU")
    memory: int = 0
    memory_used: int = 0
    disk: int = 0
    disk_used: int = 0
    received: float | None = None
    sent: float | None = None
    pressure_cpu: float | None = msgspec.field(default=None, name="PressureCPU")
    pressure_memory: float | None = None
    pressure_io: float | None = msgspec.field(default=None, name="PressureIO")


class NodeUsage(Model):
    """A node's last hour: the columns have a value each `step` seconds, the last of them is for the step of `until`.

    `now` is missing where the host is not measured: by an older worker, or while it is down. `heard_at` is when its
    worker was last heard, missing if it never was since this manager began to lead; `at` is now.
    """

    id: str
    name: str
    at: float
    step: float
    until: float
    heard_at: float = 0.0
    now: HostNow | None = None
    columns: Columns = {}


async def node_usage(context: Context, call: Call) -> Reply:
    node, now = find_node(context.store.view, call.params["id"]), context.clock.now()
    sample = context.soft.usages.host(node.id, now)
    age = context.soft.contacts.age(node.id, asyncio.get_running_loop().time())
    return shaped(
        NodeUsage(
            id=node.id,
            name=node.name,
            at=round(now, 3),
            heard_at=round(now - age, 3) if age is not None else 0.0,
            step=STEP_SECONDS,
            until=_step(now),
            now=_host_now(sample) if sample is not None else None,
            columns=dict(context.soft.usages.host_columns(node.id, now)),
        )
    )


def _host_now(sample: HostSample) -> HostNow:
    usage: HostUsage = sample.usage
    return HostNow(
        at=round(sample.at, 3),
        cpu=usage.cpu,
        memory=usage.memory_total,
        memory_used=usage.memory_total - usage.memory_available,
        disk=usage.disk_total,
        disk_used=usage.disk_total - usage.disk_available,
        received=sample.received,
        sent=sample.sent,
        pressure_cpu=usage.pressure_cpu,
        pressure_memory=usage.pressure_memory,
        pressure_io=usage.pressure_io,
    )


def _step(now: float) -> float:
    return math.floor(now / STEP_SECONDS) * STEP_SECONDS


class TaskNow(Model):
    """What a task uses: cores, and bytes."""

    id: str
    slot: int = 0
    node: str = ""
    at: float = 0.0
    cpu: float | None = msgspec.field(default=None, name="CPU")
    memory: float | None = None


class ServiceUsage(Model):
    """A service's last hour, as a node's, what each of its tasks used last, and how many `failures` each minute had.

    `cpu_limit` (cores) and `memory_limit` (bytes) are of one task, 0 without one.
    """

    id: str
    name: str
    step: float
    until: float
    cpu_limit: float = msgspec.field(default=0.0, name="CPULimit")
    memory_limit: int = 0
    tasks: tuple[TaskNow, ...] = ()
    failures: tuple[int, ...] = ()
    columns: Columns = {}


async def service_usage(context: Context, call: Call) -> Reply:
    """Answer what is known, and have the service's tasks measured for the next half minute.

    Failures are counted while somebody looks: the first who does waits for that.
    """
    await context.overview.ready()
    view, now = context.store.view, context.clock.now()
    service = find_service(view, call.params["id"])
    context.soft.usages.ask(service.id, now)
    resources = service.spec.task_template.resources
    limits = resources.limits if resources is not None else None
    tally = context.overview.counters.services.get(service.id)
    found = [
        (view.tasks.get(task_id), sample) for task_id, sample in context.soft.usages.tasks(service.id, now).items()
    ]
    return shaped(
        ServiceUsage(
            id=service.id,
            name=service.name,
            step=STEP_SECONDS,
            until=_step(now),
            cpu_limit=limits.nano_cpus / NANO_CPUS if limits is not None else 0.0,
            memory_limit=limits.memory_bytes if limits is not None else 0,
            tasks=tuple(
                TaskNow(
                    id=task.id,
                    slot=task.slot,
                    node=task.node_id,
                    at=round(sample.at, 3),
                    cpu=sample.cpu,
                    memory=sample.memory,
                )
                for task, sample in found
                if task is not None
            ),
            failures=tuple(tally.failures.by_minute(now)) if tally is not None else (),
            columns=dict(context.soft.usages.service_columns(service.id, now)),
        )
    )


ROUTES = (
    Route("GET", "/nodes/{id}/usage", node_usage, needs=Role.VIEWER),
    Route("GET", "/services/{id}/usage", service_usage, needs=Role.VIEWER),
)


def shaped(value: Model) -> Answer:
    """Answer with a shape that has no place for a secret: a viewer's needs not be looked through for one."""
    return Answer(value=value, public=True)

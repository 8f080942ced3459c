"""What hosts and tasks used in the last hour: numbers in ring buffers, in memory only. Pure.

They are for people and for Prometheus; nothing decides on them. A task is measured while a client looks at its service,
or always if the cluster's label says so.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from common.model.service import EXTENSION_PREFIX
from common.wire.usage_messages import HostUsage, TaskUsage
from manager.store.view import View

STEP_SECONDS = 10.0
STEPS = 360
# Seconds for which a service is measured after a client has looked at it.
ASKED_SECONDS = 30.0
# An older sample is out of date.
FRESH_SECONDS = 3 * STEP_SECONDS

# Where the cluster says whether all services are measured.
USAGE_LABEL = f"{EXTENSION_PREFIX}usage"

_MISSING = math.nan

HOST_COLUMNS = ("CPU", "Memory", "Disk", "Received", "Sent", "PressureCPU", "PressureMemory", "PressureIO")
SERVICE_COLUMNS = ("CPU", "Memory", "Tasks")
NOT_MEASURED = (None,) * len(SERVICE_COLUMNS)


class Ring:
    """A ring buffer of the last hour: one value per column every ten seconds, `None` if there is none."""

    __slots__ = ("_columns", "_last")

    def __init__(self, columns: int) -> None:
        self._columns = tuple(array("f", [_MISSING]) * STEPS for _ in range(columns))
        self._last = -1

    def put(self, at: float, values: Iterable[float | None]) -> None:
        """Set the values of the step that an instant (Unix seconds) is in; an earlier step's are not changed."""
        step = int(at // STEP_SECONDS)
        if step < self._last:
            return
        for missed in range(max(self._last + 1, step - STEPS + 1), step):
            self._set(missed, (None,) * len(self._columns))
        self._set(step, values)
        self._last = step

    def _set(self, step: int, values: Iterable[float | None]) -> None:
        for column, value in zip(self._columns, values, strict=True):
            column[step % STEPS] = _MISSING if value is None else value

    def columns(self, now: float) -> list[list[float | None]]:
        """Return each column of the hour that ends now, the oldest value first."""
        last = int(now // STEP_SECONDS)
        steps = [
            step if self._last - STEPS < step <= self._last else None for step in range(last - STEPS + 1, last + 1)
        ]
        return [
            [_number(column[step % STEPS]) if step is not None else None for step in steps] for column in self._columns
        ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class HostSample:
    """What a host used, heard `at` an instant; bytes a second that it `received` and `sent` since the one before."""

    at: float
    usage: HostUsage
    received: float | None = None
    sent: float | None = None


@dataclass(frozen=True, slots=True)
class TaskSample:
    """What a task used: cores, and memory in bytes."""

    at: float
    cpu: float | None
    memory: float | None


class _Tasks:
    """A service's tasks and their hour.

    `heard_at` (Unix seconds) is when something was last heard of them; `totals` is what they used together when they
    were last summed up, and `has_news` whether something was heard since.
    """

    __slots__ = ("has_news", "heard_at", "ring", "samples", "totals")

    def __init__(self) -> None:
        self.ring = Ring(len(SERVICE_COLUMNS))
        self.samples: dict[str, TaskSample] = {}
        self.heard_at = 0.0
        self.totals: tuple[float | None, ...] | None = None
        self.has_news = False


class Usages:
    """Usage of all hosts and services. `news` are nodes with new samples since it was last emptied.

    `on_asked` is called when the set of services that clients look at grows.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._hosts: dict[str, tuple[HostSample, Ring]] = {}
        self._services: dict[str, _Tasks] = {}
        self._asked: dict[str, float] = {}
        self.news: dict[str, None] = {}
        self.on_asked: Callable[[], None] = _nobody

    # --- hosts ---

    def record_host(self, node_id: str, usage: HostUsage, now: float) -> None:
        """Record a node's usage of its host."""
        before, ring = self._hosts.get(node_id, (None, None))
        received = sent = None
        if before is not None and now > before.at:
            received = _rate(before.usage.received, usage.received, now - before.at)
            sent = _rate(before.usage.sent, usage.sent, now - before.at)
        sample = HostSample(now, usage, received, sent)
        ring = ring or Ring(len(HOST_COLUMNS))
        ring.put(now, host_row(sample))
        self._hosts[node_id] = (sample, ring)
        self.news[node_id] = None
        if len(self._hosts) > len(self._view.nodes):
            self._hosts = {each: known for each, known in self._hosts.items() if each in self._view.nodes}

    def host(self, node_id: str, now: float) -> HostSample | None:
        """Return the last sample of a node's host, unless it is out of date."""
        sample, _ = self._hosts.get(node_id, (None, None))
        return sample if sample is not None and now - sample.at <= FRESH_SECONDS else None

    def host_columns(self, node_id: str, now: float) -> Mapping[str, list[float | None]]:
        """Return a node's last hour, by `HOST_COLUMNS`."""
        _, ring = self._hosts.get(node_id, (None, None))
        return dict(zip(HOST_COLUMNS, (ring or Ring(len(HOST_COLUMNS))).columns(now), strict=True))

    # --- services ---

    def ask(self, service_id: str, now: float) -> None:
        """Have a service's tasks measured for the next 30 s."""
        new = not self.is_asked(service_id, now)
        self._asked[service_id] = now
        if new:
            self.on_asked()

    def is_asked(self, service_id: str, now: float) -> bool:
        return now - self._asked.get(service_id, -math.inf) <= ASKED_SECONDS

    def asked(self, now: float) -> Collection[str]:
        """Return the services whose tasks are to be measured; forget the others."""
        for service_id in [each for each in self._asked if not self.is_asked(each, now)]:
            del self._asked[service_id]
        if any(each.spec.labels.get(USAGE_LABEL) == "services" for each in self._view.clusters):
            return frozenset(service.id for service in self._view.services)
        return frozenset(self._asked)

    def record_tasks(self, node_id: str, usages: Iterable[TaskUsage], now: float) -> None:
        """Record a node's usage of its own tasks."""
        for usage in usages:
            task = self._view.tasks.get(usage.task_id)
            if task is None or task.node_id != node_id or task.service_id not in self._view.services:
                continue
            tasks = self._services.get(task.service_id)
            if tasks is None:
                tasks = self._services[task.service_id] = _Tasks()
            elif now // STEP_SECONDS != tasks.heard_at // STEP_SECONDS:
                self._sum(task.service_id, tasks)
            tasks.samples[task.id] = TaskSample(now, usage.cpu, usage.memory)
            tasks.heard_at, tasks.has_news = now, True
        if len(self._services) > len(self._view.services):
            self._services = {each: known for each, known in self._services.items() if each in self._view.services}

    def _sum(self, service_id: str, tasks: _Tasks) -> None:
        """Note what a service's tasks used together when they were last heard of: once a step, or when that is read."""
        if tasks.has_news:
            tasks.has_news = False
            tasks.totals = _totals(self.tasks(service_id, tasks.heard_at))
            tasks.ring.put(tasks.heard_at, tasks.totals)

    def service(self, service_id: str, now: float) -> tuple[float | None, ...]:
        """Return what a service's tasks used last, by `SERVICE_COLUMNS`; nothing where that is out of date."""
        tasks = self._services.get(service_id)
        if tasks is None or now - tasks.heard_at > FRESH_SECONDS:
            return NOT_MEASURED
        if tasks.totals is None:
            self._sum(service_id, tasks)
        return tasks.totals or NOT_MEASURED

    def tasks(self, service_id: str, now: float) -> Mapping[str, TaskSample]:
        """Return the last sample of each of a service's tasks; those that are out of date are forgotten."""
        tasks = self._services.get(service_id)
        if tasks is None:
            return {}
        for old in [each for each, sample in tasks.samples.items() if now - sample.at > FRESH_SECONDS]:
            del tasks.samples[old]
        return tasks.samples

    def service_columns(self, service_id: str, now: float) -> Mapping[str, list[float | None]]:
        """Return a service's last hour, by `SERVICE_COLUMNS`: cores and bytes of all its tasks that were measured."""
        tasks = self._services.get(service_id)
        if tasks is not None:
            self._sum(service_id, tasks)
        ring = tasks.ring if tasks is not None else Ring(len(SERVICE_COLUMNS))
        return dict(zip(SERVICE_COLUMNS, ring.columns(now), strict=True))


def _nobody() -> None:
    return None


def host_row(sample: HostSample) -> tuple[float | None, ...]:
    """Return a sample by `HOST_COLUMNS`: shares of cores and of pressure, bytes used, bytes a second."""
    usage = sample.usage
    return (
        usage.cpu,
        usage.memory_total - usage.memory_available,
        usage.disk_total - usage.disk_available if usage.disk_total else None,
        sample.received,
        sample.sent,
        usage.pressure_cpu,
        usage.pressure_memory,
        usage.pressure_io,
    )


def _rate(before: int, now: int, seconds: float) -> float | None:
    return (now - before) / seconds if now >= before else None  # a restarted host counts from 0 again


def _totals(samples: Mapping[str, TaskSample]) -> tuple[float | None, ...]:
    cpus = [sample.cpu for sample in samples.values() if sample.cpu is not None]
    memory = [sample.memory for sample in samples.values() if sample.memory is not None]
    return (sum(cpus) if cpus else None, sum(memory) if memory else None, float(len(samples)))

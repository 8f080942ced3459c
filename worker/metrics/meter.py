"""Measuring what tasks use, in rounds, as the manager asks for it; no failure of it affects anything else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from common.errors import SwarmError
from common.model.task import Task, TaskState, TaskStatus
from common.wire.allowances import fitting
from common.wire.usage_messages import Gauge, Measure, Scrape, TaskUsage, Usage
from worker.intake.entries import Entries, Refusal, Refusals
from worker.intake.tasks import read_gauge
from worker.interfaces.engine import ContainerUsage, Engine
from worker.metrics.kernel_files import read_usage
from worker.metrics.scrape import scrape

# Measured at once; what cannot be measured within a round's time is left out.
_AT_ONCE = 16
# Measured in a round; a host with more tasks of autoscaled services than this has other problems.
MAX_TASKS = 1000

Read: TypeAlias = Callable[[int, str], Awaitable[ContainerUsage]]
Fetch: TypeAlias = Callable[[int, Scrape], Awaitable[float]]

_log = logging.getLogger(__name__)


async def read_cgroup(pid: int, container_id: str) -> ContainerUsage:
    """Read what a container has used, beside the event loop; errors as `kernel_files.read_usage`."""
    return await asyncio.to_thread(read_usage, pid, container_id)


@dataclass(frozen=True, slots=True)
class _Counter:
    """How much processor time (seconds) a container had used at an instant of the loop."""

    container_id: str
    at: float
    cpu: float


class Meter:
    """Measures what a manager orders, in rounds.

    tasks: returns this host's tasks; statuses: the last status of each, both by task id.
    read: reads what a container uses by pid and id, fetch: a metric of one by pid.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: Callable[[], Mapping[str, Task]],
        statuses: Callable[[], Mapping[str, TaskStatus]],
        *,
        read: Read = read_cgroup,
        fetch: Fetch = scrape,
    ) -> None:
        self._engine = engine
        self._tasks = tasks
        self._statuses = statuses
        self._read = read
        self._fetch = fetch
        self._known = Entries("measurement of service", read_gauge)
        self._refusals = Refusals()
        self._gauges: Mapping[str, Gauge] = {}
        self._due: dict[str, float] = {}
        self._counters: dict[str, _Counter] = {}
        self._ordered = asyncio.Event()
        self._unsaid: tuple[TaskUsage, ...] = ()

    def order(self, message: Measure) -> None:
        """Measure what is asked for from now on. What is new is looked at at once: a rate needs something before it."""
        refused: list[Refusal] = []
        self._gauges = self._known.take({gauge.service_id: gauge for gauge in message.gauges}, refused)
        self._refusals.note(refused)
        self._unsaid = ()
        now = asyncio.get_running_loop().time()
        self._due = {service_id: self._due.get(service_id, now) for service_id in self._gauges}
        self._ordered.set()

    async def take(self) -> Usage:
        """Wait until a round is due, and return its measurements; for ever, while nothing is asked for.

        Those that one message has no room for are returned the next time.
        """
        unsaid = self._unsaid or await self._next_round()
        batch = fitting(unsaid)
        self._unsaid = unsaid[len(batch) :]
        return Usage(tasks=batch)

    async def _next_round(self) -> tuple[TaskUsage, ...]:
        loop = asyncio.get_running_loop()
        while True:
            due = min(self._due.values(), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._ordered.wait()
            self._ordered.clear()
            now = loop.time()
            gauges = [self._gauges[service_id] for service_id, instant in self._due.items() if instant <= now]
            self._due.update((gauge.service_id, now + gauge.interval) for gauge in gauges)
            if usages := await self._round(gauges):
                return tuple(usages)

    async def _round(self, gauges: Collection[Gauge]) -> list[TaskUsage]:
        wanted = {gauge.service_id: gauge for gauge in gauges}
        running = dict(list(self._running(wanted).items())[:MAX_TASKS])
        if not running:
            return []
        usages: list[TaskUsage] = []
        limiter = asyncio.Semaphore(_AT_ONCE)
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(min(gauge.interval for gauge in gauges)),
                asyncio.TaskGroup() as group,
            ):
                for task, status in running.values():
                    group.create_task(self._one(task, status, wanted[task.service_id], limiter, usages))
        self._counters = {task_id: at for task_id, at in self._counters.items() if task_id in self._tasks()}
        return usages

    def _running(self, wanted: Collection[str]) -> dict[str, tuple[Task, TaskStatus]]:
        statuses = self._statuses()
        return {
            task.id: (task, status)
            for task in self._tasks().values()
            if task.service_id in wanted
            and (status := statuses.get(task.id)) is not None
            and status.state is TaskState.RUNNING
            and status.container_status is not None
            and status.container_status.pid
        }

    async def _one(
        self, task: Task, status: TaskStatus, gauge: Gauge, limiter: asyncio.Semaphore, usages: list[TaskUsage]
    ) -> None:
        """Measure one task; what cannot be measured is reported in `error`, beside the rest."""
        container = status.container_status
        assert container is not None, "only tasks with a container are measured"
        usage = TaskUsage(task_id=task.id)
        errors = []
        async with limiter:
            if gauge.cpu or gauge.memory:
                try:
                    used = await self._used(container.pid, container.container_id)
                except SwarmError as error:
                    errors.append(error.message)
                except Exception as error:  # noqa: BLE001 - engines and kernels may say what nobody has foreseen
                    errors.append(_describe_error(task, error))
                else:
                    cpu = self._rate(task.id, container.container_id, used) if gauge.cpu else None
                    usage = msgspec.structs.replace(usage, cpu=cpu, memory=used.memory if gauge.memory else None)
            if gauge.metric is not None:
                try:
                    value = await self._fetch(container.pid, gauge.metric)
                    usage = msgspec.structs.replace(usage, metric=value)
                except (OSError, ValueError) as error:
                    errors.append(f"port {gauge.metric.port}: {error}")
                except Exception as error:  # noqa: BLE001 - and so may programs
                    errors.append(_describe_error(task, error))
        usages.append(msgspec.structs.replace(usage, error="; ".join(errors)[:200]))

    async def _used(self, pid: int, container_id: str) -> ContainerUsage:
        """Read what a container has used; where the kernel's files do not tell, ask the engine."""
        try:
            return await self._read(pid, container_id)
        except (OSError, ValueError) as error:
            _log.debug("container %s: its cgroup cannot be read (%s): asking the engine", container_id[:12], error)
        return await self._engine.usage(container_id)

    def _rate(self, task_id: str, container_id: str, used: ContainerUsage) -> float | None:
        """Return the cores used since the measurement before, None for the first of a container."""
        now = asyncio.get_running_loop().time()
        before = self._counters.get(task_id)
        self._counters[task_id] = _Counter(container_id, now, used.cpu)
        if before is None or before.container_id != container_id or now <= before.at:
            return None
        return max(0.0, used.cpu - before.cpu) / (now - before.at)


def _describe_error(task: Task, error: Exception) -> str:
    _log.error("task %s: unexpected error in measuring it", task.name, exc_info=error)
    return f"internal error of the worker: {error!r}"

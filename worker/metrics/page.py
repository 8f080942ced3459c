"""A node's page for Prometheus: its tasks' containers, under cAdvisor's names, so that boards made for that work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from common.errors import SwarmError
from common.model.service import STACK_LABEL
from common.model.task import ContainerStatus, Task, TaskState, TaskStatus
from worker.interfaces.engine import ContainerUsage
from worker.metrics.kernel_files import ContainerNumbers, read_numbers

_AT_ONCE = 16
# The manager waits ten seconds for the whole page.
READ_SECONDS = 5.0
_UNSEEN = TaskStatus()

_log = logging.getLogger(__name__)

# No other label of a container: each would be a series of its own for whatever somebody puts there.
LABELS = (
    *("name", "image", "container_label_com_docker_stack_namespace", "container_label_com_docker_swarm_service_name"),
    *("container_label_com_docker_swarm_task_name", "container_label_com_docker_swarm_node_id"),
)


@dataclass(frozen=True, slots=True)
class Running:
    """A task that runs, and its container's numbers."""

    task: Task
    numbers: ContainerNumbers


async def read_tasks(
    tasks: Collection[Task], statuses: Mapping[str, TaskStatus], ask: Callable[[str], Awaitable[ContainerUsage]]
) -> list[Running]:
    """Read the numbers of the tasks that run; where the kernel's files do not tell, `ask` the engine.

    Those that end meanwhile, and what takes too long, are left out.
    """
    limiter = asyncio.Semaphore(_AT_ONCE)
    found: list[Running] = []

    async def one(task: Task, container: ContainerStatus) -> None:
        async with limiter:
            try:
                numbers = await asyncio.to_thread(read_numbers, container.pid, container.container_id)
            except (OSError, ValueError, KeyError, IndexError):
                try:
                    used = await ask(container.container_id)
                except SwarmError as error:
                    _log.debug("task %s: what it uses cannot be told: %s", task.name, error.message)
                    return
                numbers = ContainerNumbers(used.cpu, used.memory)
            found.append(Running(task, numbers))

    with contextlib.suppress(TimeoutError):  # what is there by then is written
        async with asyncio.timeout(READ_SECONDS), asyncio.TaskGroup() as group:
            for task in tasks:
                status = statuses.get(task.id, _UNSEEN)
                container = status.container_status if status.state is TaskState.RUNNING else None
                if container is not None and container.pid:
                    group.create_task(one(task, container))
    return found


def write_page(running: Iterable[Running], node_id: str, image_bytes: int = 0) -> bytes:
    """Write the page; `image_bytes` have come from other workers."""
    # Loaded with the first page: most workers never write one.
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415
    from prometheus_client.registry import Collector  # noqa: PLC0415

    there = [(_labels(each.task, node_id), each.numbers) for each in running]

    class Containers(Collector):
        def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
            for name, kind, text, number in _FAMILIES:
                made = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
                family = made(name, text, labels=LABELS)
                for labels, numbers in there:
                    if (value := number(numbers)) is not None:
                        family.add_metric(labels, value)
                yield family
            images = CounterMetricFamily("swarm_worker_image_bytes", "Bytes of images that came from other workers.")
            images.add_metric((), image_bytes)
            yield images

    registry = CollectorRegistry()
    registry.register(Containers())
    return generate_latest(registry)


def _labels(task: Task, node_id: str) -> tuple[str, ...]:
    container = task.spec.container_spec
    image = container.image if container is not None else ""
    return (task.name, image, task.labels.get(STACK_LABEL, ""), task.service_name, task.name, node_id)


def _micro(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e6


_FAMILIES: tuple[tuple[str, str, str, Callable[[ContainerNumbers], float | None]], ...] = (
    ("container_cpu_usage_seconds_total", "counter", "Processor time.", lambda n: n.cpu),
    ("container_cpu_cfs_throttled_seconds_total", "counter", "Time held back by its limit.", lambda n: n.throttled),
    ("container_cpu_cfs_periods_total", "counter", "Periods of its limit of processor time.", lambda n: n.periods),
    ("container_cpu_cfs_throttled_periods_total", "counter", "Those that held it back.", lambda n: n.throttled_periods),
    ("container_spec_cpu_quota", "gauge", "Microseconds that it may have a period.", lambda n: _micro(n.quota)),
    ("container_spec_cpu_period", "gauge", "Microseconds of a period.", lambda n: _micro(n.period)),
    ("container_memory_working_set_bytes", "gauge", "Memory without cache that can go.", lambda n: n.working_set),
    ("container_memory_usage_bytes", "gauge", "All of its memory, with cache.", lambda n: n.usage),
    ("container_memory_cache", "gauge", "Files that it has in memory.", lambda n: n.cache),
    ("container_memory_rss", "gauge", "Memory of its programs.", lambda n: n.rss),
    (
        "container_spec_memory_limit_bytes",
        "gauge",
        "Limit of its memory, 0: none.",
        lambda n: n.limit or 0,
    ),
    ("container_oom_events_total", "counter", "Programs killed for want of memory.", lambda n: n.oom_kills),
    ("container_start_time_seconds", "gauge", "When it was started.", lambda n: n.started_at),
    ("container_processes", "gauge", "Its processes and threads.", lambda n: n.processes),
    ("container_network_receive_bytes_total", "counter", "Bytes received.", lambda n: n.received),
    ("container_network_transmit_bytes_total", "counter", "Bytes sent.", lambda n: n.sent),
    ("container_fs_reads_bytes_total", "counter", "Bytes read from disks.", lambda n: n.read),
    ("container_fs_writes_bytes_total", "counter", "Bytes written to disks.", lambda n: n.written),
)

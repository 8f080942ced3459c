"""A node's page for Prometheus: its tasks' containers, under cAdvisor's names, so that boards made for that work.

What a container has used, the kernel counts: `read` looks at its cgroup and its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import SwarmError
from common.model.service import STACK_LABEL
from common.model.task import ContainerStatus, Task, TaskState, TaskStatus
from worker.interfaces.engine import ContainerUsage
from worker.metrics.cgroups import controllers, read_usage

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
                numbers = await asyncio.to_thread(read, container.pid, container.container_id)
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


_MICRO = 1e6
_TICKS = 100.0  # of /proc/PID/stat, whatever the kernel's own
_START = 19  # after the command's name: field 22


@dataclass(frozen=True, slots=True)
class ContainerNumbers:
    """Counters since the container's start, and memory now; None for what cannot be told.

    Times are in seconds, memory in bytes; `limit` is None where there is none. `started_at` is in Unix seconds. Of its
    limit of processor time: `periods` were looked at, in `throttled_periods` it was held back; `quota` of each `period`
    (seconds) is what it may have.
    """

    cpu: float
    working_set: float
    usage: int | None = None
    cache: int | None = None
    throttled: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    quota: float | None = None
    period: float | None = None
    processes: int | None = None
    rss: int | None = None
    limit: int | None = None
    oom_kills: int | None = None
    started_at: float | None = None
    received: int | None = None
    sent: int | None = None
    read: int | None = None
    written: int | None = None


def read(
    pid: int, container_id: str, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")
) -> ContainerNumbers:
    """Read a container's numbers by its first process; of cgroups version 1, fewer.

    Raises:
        OSError, ValueError: it cannot be told from here: another process has the number, or the files are not there.

    """
    used = read_usage(pid, container_id, proc, root)
    paths = controllers((proc / str(pid) / "cgroup").read_text(), container_id)
    received, sent = parse_network((proc / str(pid) / "net" / "dev").read_text())
    of_process = ContainerNumbers(
        cpu=used.cpu,
        working_set=used.memory,
        started_at=parse_start((proc / str(pid) / "stat").read_text(), (proc / "stat").read_text()),
        received=received,
        sent=sent,
    )
    if "" not in paths or "memory" in paths:
        return of_process
    return _with_cgroup(of_process, root / paths[""])


def _with_cgroup(numbers: ContainerNumbers, folder: Path) -> ContainerNumbers:
    """Return a container's numbers with those of its cgroup, of version 2."""
    memory, cpu = _table(folder / "memory.stat"), _table(folder / "cpu.stat")
    limit = (folder / "memory.max").read_text().strip()
    reads, writes = parse_io((folder / "io.stat").read_text()) if (folder / "io.stat").exists() else (None, None)
    quota, period = parse_quota(_text(folder / "cpu.max"))
    return replace(
        numbers,
        usage=int((folder / "memory.current").read_text()),
        cache=memory.get("file"),
        periods=cpu.get("nr_periods"),
        throttled_periods=cpu.get("nr_throttled"),
        quota=quota,
        period=period,
        processes=int(processes) if (processes := _text(folder / "pids.current").strip()).isdecimal() else None,
        throttled=cpu["throttled_usec"] / _MICRO if "throttled_usec" in cpu else None,
        rss=memory.get("anon"),
        limit=int(limit) if limit.isdecimal() else None,
        oom_kills=_table(folder / "memory.events").get("oom_kill"),
        read=reads,
        written=writes,
    )


def _table(file: Path) -> Mapping[str, int]:
    pairs = (line.split() for line in file.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _text(file: Path) -> str:
    """Read a file that not every kernel has."""
    return file.read_text() if file.exists() else ""


def parse_quota(text: str) -> tuple[float | None, float | None]:
    """Read a cgroup's `cpu.max`: the quota and its period, in seconds; None without a limit."""
    quota, _, period = text.strip().partition(" ")
    if not quota.isdecimal() or not period.isdecimal():
        return None, None
    return int(quota) / _MICRO, int(period) / _MICRO


def parse_io(text: str) -> tuple[int, int]:
    """Read a cgroup's `io.stat`: bytes read and written, of all devices."""
    fields = [field.partition("=") for line in text.splitlines() for field in line.split()[1:]]
    read, written = (sum(int(value) for name, _, value in fields if name == wanted) for wanted in ("rbytes", "wbytes"))
    return read, written


def parse_network(text: str) -> tuple[int, int]:
    """Read `/proc/PID/net/dev`: bytes received and sent by all interfaces but the loopback."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        columns = numbers.split()
        if name.strip() != "lo":
            received += int(columns[0])
            sent += int(columns[8])
    return received, sent


def parse_start(process: str, host: str) -> float | None:
    """Read when a process was started, in Unix seconds, from `/proc/PID/stat` and `/proc/stat`."""
    booted = next((line.split()[1] for line in host.splitlines() if line.startswith("btime ")), None)
    if booted is None:
        return None
    return int(booted) + int(process.rpartition(")")[2].split()[_START]) / _TICKS

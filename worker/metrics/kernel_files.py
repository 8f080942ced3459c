"""What a container has used, as the kernel's files say: its cgroup, of version 2 or 1, and its first process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from worker.interfaces.engine import ContainerUsage

_NANO, _MICRO = 1e9, 1e6
# USER_HZ: /proc/PID/stat has times in hundredths of a second, on every kernel.
_TICKS = 100.0
# Where the start time is after the command's name: field 22 (proc(5)).
_START = 19


def read_usage(
    pid: int, container_id: str, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")
) -> ContainerUsage:
    """Read what the container with this first process has used.

    Raises:
        OSError, ValueError: it cannot be told from here: another process has the number, or the files are not there.

    """
    paths = controllers((proc / str(pid) / "cgroup").read_text(), container_id)
    if "cpuacct" in paths and "memory" in paths:
        return _version_1(_below(root, ("cpuacct", "cpu,cpuacct"), paths["cpuacct"]), root / "memory" / paths["memory"])
    return _version_2(root / paths[""])


def controllers(text: str, container_id: str) -> Mapping[str, str]:
    """Read `/proc/PID/cgroup`: the path below its mount by controller; of version 2, under the empty name.

    Raises:
        ValueError: the process is not one of the container's.

    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        found.update(dict.fromkeys(names.split(","), path.lstrip("/")))
    if not any(container_id in path for path in found.values()):
        raise ValueError("its first process is in no cgroup of its name")
    if "" not in found and not {"cpuacct", "memory"} <= found.keys():
        raise ValueError("its cgroups count neither processor nor memory")
    if any(".." in path.split("/") for path in found.values()):
        raise ValueError("its cgroups are not below this process's own")
    return found


def _below(root: Path, mounts: tuple[str, ...], path: str) -> Path:
    return next((root / mount / path for mount in mounts if (root / mount).is_dir()), root / mounts[0] / path)


def _version_1(cpuacct: Path, memory: Path) -> ContainerUsage:
    used = int((memory / "memory.usage_in_bytes").read_text())
    cache = _table(memory / "memory.stat").get("total_inactive_file", 0)
    return ContainerUsage(cpu=int((cpuacct / "cpuacct.usage").read_text()) / _NANO, memory=max(0, used - cache))


def _version_2(folder: Path) -> ContainerUsage:
    used = int((folder / "memory.current").read_text())
    cache = _table(folder / "memory.stat").get("inactive_file", 0)
    return ContainerUsage(cpu=_table(folder / "cpu.stat")["usage_usec"] / _MICRO, memory=max(0, used - cache))


def _table(file: Path) -> Mapping[str, int]:
    """Read a file of `NAME NUMBER` lines."""
    pairs = (line.split() for line in file.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def parse_net_dev(text: str, counts: Callable[[str], bool]) -> tuple[int, int]:
    """Read `/proc/net/dev`, or a process's: bytes received and sent by the links that `counts` by their names."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if counts(name.strip()):
            columns = numbers.split()
            received += int(columns[0])
            sent += int(columns[8])
    return received, sent


# --- all numbers of a container ---


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


def read_numbers(
    pid: int, container_id: str, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")
) -> ContainerNumbers:
    """Read a container's numbers by its first process; of cgroups version 1, fewer.

    Raises:
        OSError, ValueError: it cannot be told from here: another process has the number, or the files are not there.

    """
    used = read_usage(pid, container_id, proc, root)
    paths = controllers((proc / str(pid) / "cgroup").read_text(), container_id)
    received, sent = parse_net_dev((proc / str(pid) / "net" / "dev").read_text(), lambda link: link != "lo")
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


def parse_start(process: str, host: str) -> float | None:
    """Read when a process was started, in Unix seconds, from `/proc/PID/stat` and `/proc/stat`."""
    booted = next((line.split()[1] for line in host.splitlines() if line.startswith("btime ")), None)
    if booted is None:
        return None
    return int(booted) + int(process.rpartition(")")[2].split()[_START]) / _TICKS

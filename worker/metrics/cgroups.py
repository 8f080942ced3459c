"""What a container has used, read from the kernel's files: of cgroups version 2, or of version 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from worker.interfaces.engine import ContainerUsage

_NANO, _MICRO = 1e9, 1e6


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
    pairs = (line.split() for line in file.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}

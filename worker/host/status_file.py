"""The status of the running worker, for `swarm-worker status` and `join`: a small file, replaced as a whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

# Bytes: more than a status has.
_ROOM = 4096


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`manager` is the address of the session, empty without one; `since` is when that came to be, Unix seconds.

    `refused` says why there is no session, if that is known.
    `process` tells the process from a later one with the same `pid`, after a boot perhaps; empty: not known.
    `tasks` are to run here, and `tasks_running` of them do.
    `lacks` is as in `common.model.node.NodeDescription`.
    """

    pid: int
    process: str = ""
    manager: str = ""
    since: float = 0.0
    refused: str = ""
    tasks: int = 0
    tasks_running: int = 0
    engine: str = ""
    certificate_until: float = 0.0
    lacks: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the process that wrote this runs."""
        if self.process:
            return self.process == process_mark(self.pid)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def process_mark(pid: int) -> str:
    """Return what identifies a process among all of this host, by boot and start time; empty when it does not run."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Fields 3 and 22 of proc(5); the second, the name, may hold spaces and parentheses.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else f"{boot}/{pid}/{fields[18]}"


def write(path: Path, status: WorkerStatus) -> None:
    """Replace the file in one step, without waiting for the disk: after a crash of the machine it does not matter."""
    draft = path.with_suffix(".tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - it must open the descriptor made with this mode
        file.write(msgspec.json.format(msgspec.json.encode(status)))
    draft.replace(path)


def read(path: Path) -> WorkerStatus | None:
    """Read the status of a worker that runs; None when there is none."""
    try:
        status = msgspec.json.decode(path.read_bytes(), type=WorkerStatus)
    except (OSError, msgspec.MsgspecError):
        return None
    return status if status.alive else None


def written_at(path: Path) -> float:
    """Return when the status was written that is there, Unix seconds; 0 without one."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def obstacle(path: Path) -> str:
    """Say why no newer status can be written, in the kernel's words; empty when it can."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        return error.strerror or str(error)
    return ""

"""What the running worker says of itself to `swarm-worker status` and `join`: a small file, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from common.tls import write_private


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`manager` is the address of the session, empty without one; `since` is when that came to be, Unix seconds."""

    pid: int
    manager: str = ""
    since: float = 0.0
    tasks: int = 0
    tasks_running: int = 0
    engine: str = ""
    certificate_until: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether the process that wrote this runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def write(path: Path, status: WorkerStatus) -> None:
    write_private(path, msgspec.json.format(msgspec.json.encode(status)))


def read(path: Path) -> WorkerStatus | None:
    """Read the status of a worker that runs; None when there is none."""
    try:
        status = msgspec.json.decode(path.read_bytes(), type=WorkerStatus)
    except (OSError, msgspec.MsgspecError):
        return None
    return status if status.alive else None

"""Files in memory, one tmpfs a task: mounted by us, bound read-only into the container, gone with the task.

The mounts belong to the host, not to this process: an agent that restarts finds them again, and the containers keep
theirs. So the agent must share the engine's mount namespace.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from common.errors import FailedPrecondition
from worker.ports import TaskFile

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MNT_DETACH = 2
_PAGE = 4096

_log = logging.getLogger(__name__)


class TmpfsFiles:
    """The `TaskFiles` (worker.ports) of production: a mount for each task below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, task_id: str, files: Collection[TaskFile]) -> Mapping[str, str]:
        folder = self._root / task_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.ismount(folder):
            self._mount(folder, files)
        try:
            return {file.target: _write(folder / str(number), file) for number, file in enumerate(files)}
        except OSError as error:
            self.remove(task_id)
            raise FailedPrecondition(f"cannot write the task's secrets and configs: {error}") from error

    def remove(self, task_id: str) -> None:
        folder = self._root / task_id
        if os.path.ismount(folder):
            # Detached: a mount that something still looks into goes when that lets go of it.
            _syscall("umount2", str(folder).encode(), _MNT_DETACH)
        if folder.is_dir():
            for left in folder.iterdir():
                left.unlink()
            folder.rmdir()

    def tasks(self) -> Collection[str]:
        return [entry.name for entry in self._root.iterdir()] if self._root.is_dir() else []

    def _mount(self, folder: Path, files: Collection[TaskFile]) -> None:
        if in_memory(folder):
            return
        pages = sum(-(-len(file.data) // _PAGE) + 1 for file in files) + 4
        options = f"mode=0700,size={pages * _PAGE},nr_inodes={len(files) + 8}"
        try:
            try:
                _mount_tmpfs(folder, f"{options},noswap")
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                _mount_tmpfs(folder, options)  # a kernel before 6.4 may write it to its swap space
        except OSError as error:
            folder.rmdir()
            raise FailedPrecondition(
                f"secrets and configs need a tmpfs, and none can be mounted at {folder}: {error.strerror}; "
                "run the worker as root, in the engine's mount namespace"
            ) from error


def in_memory(folder: Path) -> bool:
    """Whether a folder is on a file system that lives in memory already."""
    best, kind = "", ""
    where = str(folder.resolve())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        point = mount.split()[4]
        if (where == point or where.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, filesystem.split()[0]
    return kind in ("tmpfs", "ramfs")


def _write(path: Path, file: TaskFile) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as out:  # noqa: PTH123 - it must open the descriptor made with this mode
        out.write(file.data)
        if (file.uid, file.gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, file.uid, file.gid)
        os.fchmod(descriptor, file.mode & 0o7777)
    return str(path)


def _mount_tmpfs(folder: Path, options: str) -> None:
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _syscall("mount", b"swarm-worker", str(folder).encode(), b"tmpfs", flags, options.encode())


def _syscall(name: str, *arguments: bytes | int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # Integers go as unsigned long, as mount(2) has its flags.
    converted = [ctypes.c_ulong(value) if isinstance(value, int) else ctypes.c_char_p(value) for value in arguments]
    if getattr(libc, name)(*converted) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)

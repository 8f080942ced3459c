"""Files in memory, one tmpfs a task: mounted by us, bound read-only into the container, gone with the task.

The mounts belong to the host, not to this process: an agent that restarts finds them again, and the containers keep
theirs. So the agent must share the engine's mount namespace.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

from common.errors import FailedPrecondition
from worker.intake.identifiers import identifier, is_id
from worker.interfaces.files import TaskFile
from worker.tasks import file_mount
from worker.tasks.file_mount import system_call

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_REMOUNT = 32
_MNT_DETACH = 2
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_PAGE = 4096
# To show a container its new files takes milliseconds, but the host may be busy.
_SHOW_SECONDS = 20.0

_MOUNTS = Path("/proc/self/mountinfo")

_log = logging.getLogger(__name__)


class TmpfsFiles:
    """The `TaskFiles` (worker.interfaces) of production: a mount for each task below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, task_id: str, files: Collection[TaskFile]) -> Mapping[str, str]:
        folder = self._folder(task_id)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.path.ismount(folder):
                self._mount(folder, files)
            return {file.target: _write(folder / str(number), file) for number, file in enumerate(files)}
        except OSError as error:
            self.remove(task_id)
            raise FailedPrecondition(_not_written(folder, error)) from error

    async def replace(
        self, task_id: str, files: Collection[TaskFile], pid: int, tell: Callable[[], Awaitable[None]]
    ) -> None:
        folder = self._folder(task_id)
        paths = {folder / str(number): file for number, file in enumerate(files)}
        changed = {path: file for path, file in paths.items() if not _is(path, file)}
        if not changed:
            return
        fresh = {path: _unused_path(path) for path in changed}
        try:
            self._grow(folder, changed.values())
            for path, file in changed.items():
                _write(fresh[path], file)
        except OSError as error:
            raise FailedPrecondition(_not_written(folder, error)) from error
        targets = {str(fresh[path]): file.target for path, file in changed.items()}
        covered = bool(pid) and await _show(pid, targets)
        await tell()
        for path, new in fresh.items():
            _exchange(path, new)
            if not covered:  # else the name that is left keeps the mount on top of it
                new.unlink()

    def remove(self, task_id: str) -> None:
        folder = self._folder(task_id)
        if os.path.ismount(folder):
            # Detached: a mount that something still looks into goes when that lets go of it.
            system_call("umount2", str(folder).encode(), _MNT_DETACH)
        if folder.is_dir():
            for left in folder.iterdir():
                left.unlink()
            folder.rmdir()

    def tasks(self) -> Collection[str]:
        found = self._root.iterdir() if self._root.is_dir() else ()
        return [entry.name for entry in found if is_id(entry.name)]

    def _folder(self, task_id: str) -> Path:
        return self._root / identifier(task_id)

    def _mount(self, folder: Path, files: Collection[TaskFile]) -> None:
        if in_memory(folder):
            return
        try:
            _mount_noswap(folder, _options(_pages(files), len(files)))
        except OSError as error:
            folder.rmdir()
            raise FailedPrecondition(
                f"secrets and configs need a tmpfs, and none can be mounted at {folder}: {error.strerror}; "
                "run the worker as root, in the engine's mount namespace"
            ) from error

    def _grow(self, folder: Path, files: Collection[TaskFile]) -> None:
        """Make room for files beside those that are there: a container has the old ones until it has the new."""
        if not os.path.ismount(folder):
            return
        found = os.statvfs(folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize // _PAGE
        options = _options(used + _pages(files), found.f_files - found.f_ffree + len(files))
        _mount_noswap(folder, options, _MS_REMOUNT)


async def _show(pid: int, targets: Mapping[str, str]) -> bool:
    """Mount files over those that a process's container has; return whether the old mounts are still there, below.

    Args:
        pid: its first process.
        targets: paths in the container, by the files' own.

    Raises:
        FailedPrecondition: it cannot be done; says why.

    """
    pairs = [path for pair in targets.items() for path in pair]
    command = (sys.executable, "-I", file_mount.__file__, str(pid), *pairs)
    helper = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(_SHOW_SECONDS):
            said, errors = await helper.communicate()
    except TimeoutError:
        raise FailedPrecondition(f"the container's files were not changed within {_SHOW_SECONDS:.0f} s") from None
    finally:
        if helper.returncode is None:
            helper.kill()
            await helper.wait()
    if helper.returncode:
        why = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise FailedPrecondition(f"cannot change a file of the running container: {why}")
    return said.decode() == file_mount.COVERED


def in_memory(folder: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether a folder is on a file system that lives in memory already; `mounts` as in proc(5)."""
    best, kind = "", ""
    where = str(folder.resolve())
    for line in mounts.read_text(errors="surrogateescape").splitlines():
        mount, _, filesystem = line.partition(" - ")
        point = mount.split()[4]
        if (where == point or where.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, filesystem.split()[0]
    return kind in ("tmpfs", "ramfs")


def _not_written(folder: Path, error: OSError) -> str:
    return f"cannot write the task's secrets and configs to {folder}: {error.strerror}"


def _write(path: Path, file: TaskFile) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as out:  # noqa: PTH123 - it must open the descriptor made with this mode
        out.write(file.data)
        if (file.uid, file.gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, file.uid, file.gid)
        os.fchmod(descriptor, file.mode & 0o7777)
    return str(path)


def _is(path: Path, file: TaskFile) -> bool:
    """Whether a file is there already, with its owner and mode."""
    try:
        there = path.stat()
        same = (there.st_uid, there.st_gid, there.st_mode & 0o7777) == (file.uid, file.gid, file.mode & 0o7777)
        return same and path.read_bytes() == file.data
    except FileNotFoundError:
        return False


def _unused_path(path: Path) -> Path:
    """Choose a name beside a file's. One that was used may be a file that the container has."""
    return next(name for number in itertools.count(1) if not (name := path.with_suffix(f".{number}")).exists())


def _exchange(one: Path, other: Path) -> None:
    """Exchange what two names stand for, in one step."""
    system_call("renameat2", _AT_FDCWD, str(one).encode(), _AT_FDCWD, str(other).encode(), _RENAME_EXCHANGE)


def _pages(files: Collection[TaskFile]) -> int:
    return sum(-(-len(file.data) // _PAGE) + 1 for file in files) + 4


def _options(pages: int, files: int) -> str:
    return f"mode=0700,size={pages * _PAGE},nr_inodes={files + 8}"


def _mount_noswap(folder: Path, options: str, extra_flags: int = 0) -> None:
    try:
        _mount_tmpfs(folder, f"{options},noswap", extra_flags)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _mount_tmpfs(folder, options, extra_flags)  # a kernel before 6.4 may write it to its swap space


def _mount_tmpfs(folder: Path, options: str, extra_flags: int) -> None:
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | extra_flags
    system_call("mount", b"swarm-worker", str(folder).encode(), b"tmpfs", flags, options.encode())

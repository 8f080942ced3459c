"""Trees of files for the tests of copying: made, changed, and told with all that is to be copied of them."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.volumes.copy.entries import MIB
from worker.volumes.copy.scan import read_attributes

MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder, in memory where that can be: nothing waits for a disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@dataclass(frozen=True)
class Sight:
    """One file as a program sees it."""

    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    content: bytes | None
    device: int
    attributes: tuple[tuple[bytes, bytes], ...]
    same_as: str


def look(root: Path) -> dict[str, Sight]:
    """Return all files of a tree by their paths, with what distinguishes them."""
    paths = sorted([root, *root.rglob("*")])
    first: dict[int, str] = {}
    for path in paths:
        first.setdefault(path.lstat().st_ino, str(path.relative_to(root)))
    return {str(path.relative_to(root)): _look(path, first) for path in paths}


def _look(path: Path, first: dict[int, str]) -> Sight:
    status = path.lstat()
    return Sight(
        mode=status.st_mode,
        owner=(status.st_uid, status.st_gid),
        mtime_ns=status.st_mtime_ns,
        content=_content(path, status.st_mode),
        device=status.st_rdev,
        attributes=read_attributes(os.fsencode(path)),
        same_as=first[status.st_ino],
    )


def _content(path: Path, mode: int) -> bytes | None:
    if stat.S_ISREG(mode):
        return path.read_bytes()
    return os.fsencode(path.readlink()) if stat.S_ISLNK(mode) else None


class SmallDisk:
    """A file system of 64 MiB and 1,000 files, of which so much is free as the test's folder leaves of it."""

    f_frsize = 4096
    f_blocks = 64 * MIB // f_frsize
    f_files = 1000

    def __init__(self, folder: Path) -> None:
        there = [each.lstat() for each in folder.rglob("*")]
        self.f_bavail = self.f_blocks - sum(each.st_blocks * 512 for each in there) // self.f_frsize
        self.f_favail = self.f_files - len(there)

    @classmethod
    def beside(cls, folder: Path) -> Callable[[object], object]:
        """Return an `os.statvfs` to which each descriptor is of this folder; paths have their own file systems."""
        real = os.statvfs
        return lambda at: cls(folder) if isinstance(at, int) else real(at)  # type: ignore[arg-type]

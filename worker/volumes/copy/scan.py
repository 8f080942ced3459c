"""Looks at files: what their records are, and whether they must be read again to know."""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from worker.volumes.copy.entries import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    FILE,
    KINDS,
    NANO,
    SYMLINK,
    Attributes,
    Kind,
    Record,
    is_copied,
    moved_attributes,
    moved_id,
)
from worker.volumes.copy.system import sync_file_system
from worker.volumes.copy.walk import Found

_CLOCK_SECONDS = 0.5
# File systems without writeback never notice a second store through mmap: there nothing is settled.
_WITHOUT_WRITEBACK = ("tmpfs", "ramfs")
NO_ATTRIBUTES = (errno.EOPNOTSUPP, errno.ENOSYS)


def key_of(status: os.stat_result) -> bytes:
    """Return what changes whenever a file does: inode, size, times of modification and of change."""
    return b"%d %d %d %d" % (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def identity(folder: int, base: int) -> bytes:
    """Return what an index of this folder is for: after a crash of the host the same file may have other content."""
    status = os.fstat(folder)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {status.st_dev} {status.st_ino} {base}".encode()


@dataclass(frozen=True, slots=True)
class Moment:
    """Files whose ctime is before `settled` (ns) will show any later change to them by another ctime.

    clock: what the clock was ahead of the time since the host's start, in seconds.
    """

    settled: int
    clock: float = 0.0

    def key(self, status: os.stat_result) -> bytes:
        """Return the file's key, empty if it must be looked at again however it looks."""
        return key_of(status) if status.st_ctime_ns < self.settled else b""

    def was_clock_set(self) -> bool:
        """Return whether the clock was set meanwhile, so that what was changed since may have an earlier ctime."""
        return abs(_clock() - self.clock) > _CLOCK_SECONDS


# When nobody writes.
QUIET = Moment(2**63 - 1)


def begin_moment(folder: int) -> Moment:
    """Write the folder's file system to its disk, and return what that makes certain.

    Storing through mmap into a page that is dirty already changes no time (ext4, Linux 6.18, and others). After all
    pages were written, the next store into each does. A ctime of about then or later may hide further stores.
    """
    clock, settled = _clock(), time.time_ns() - NANO
    if _type_of(folder) in _WITHOUT_WRITEBACK:
        return Moment(-(2**63), clock)
    sync_file_system(folder)
    return Moment(settled, clock)


def unsettled_moment() -> Moment:
    """Return a moment that makes nothing certain: all that is read now is read again."""
    return Moment(-(2**63), _clock())


def _clock() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _type_of(folder: int) -> str:
    """Return the type of the file system that a folder is on, from the kernel's table of mounts."""
    device = os.fstat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            return rest.split()[0]
    return ""


class Scanner:
    """Makes records of one folder's files, with owners relative to `base`."""

    def __init__(self, base: int) -> None:
        self._base = base

    def record(self, found: Found) -> Record | None:
        """Return the record of what is not a regular file; None if it is something that cannot be copied."""
        status = found.status
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return None
        target = os.readlink(found.name, dir_fd=found.folder) if kind == SYMLINK else b""
        device = status.st_rdev if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else 0
        at = f"/proc/self/fd/{found.folder}/".encode() + found.name
        return replace(self._metadata(kind, status, at), target=target, device=device)

    def file_record(self, file: int, status: os.stat_result, size: int, block: int, root: bytes) -> Record:
        """Return the record of an open regular file of whose content `size` bytes were read."""
        return self._metadata(FILE, status, file, size, block, root)

    def _metadata(
        self, kind: Kind, status: os.stat_result, at: int | bytes, size: int = 0, block: int = 0, root: bytes = b""
    ) -> Record:
        """Return what all kinds of records have of a file, and what is told of a regular one."""
        mtime, nanoseconds = divmod(status.st_mtime_ns, NANO)
        return Record(
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=moved_id(status.st_uid, -self._base),
            gid=moved_id(status.st_gid, -self._base),
            mtime=mtime,
            nanoseconds=nanoseconds,
            size=size,
            block=block,
            root=root,
            attributes=self._attributes(at),
        )

    def _attributes(self, at: int | bytes) -> Attributes:
        return moved_attributes(read_attributes(at), -self._base)


def read_attributes(at: int | bytes) -> Attributes:
    """Return the extended attributes that are copied of a file, by descriptor or path; links are not followed."""
    follow = isinstance(at, int)
    try:
        names = os.listxattr(at, follow_symlinks=follow)
    except OSError as error:
        if error.errno in NO_ATTRIBUTES:
            return ()
        raise
    found = []
    for name in sorted(map(os.fsencode, names)):
        if is_copied(name):
            try:
                found.append((name, os.getxattr(at, name, follow_symlinks=follow)))
            except OSError as error:
                if error.errno not in (*NO_ATTRIBUTES, errno.ENODATA):
                    raise
    return tuple(found)

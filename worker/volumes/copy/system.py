"""Calls of the kernel that Python has no function for, refusals in words, and what a copying process does to itself."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common.errors import FailedPrecondition, PermissionDenied, ResourceExhausted, SwarmError, Unavailable

_LIBC = ctypes.CDLL(None, use_errno=True)
_FALLOC_KEEP_SIZE = 0x01
_FALLOC_PUNCH_HOLE = 0x02
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_IDLE = 3 << 13
_IOPRIO_DEFAULT = 0
# Beside a busy program it still gets a tenth of what that does: with 19 a copy from a busy host came to no end.
_IDLE_NICE = 10
_KEPT_SHARE, _MOST_KEPT = 20, 1024**3
_MANY_FILES = 2**63
# Of all processors these have the same numbers (linux/mount.h).
_OPEN_TREE, _MOUNT_SETATTR = 428, 442
_OPEN_TREE_CLONE = 1
_MOUNT_READ_ONLY, _MOUNT_NO_DEVICES = 0x1, 0x4
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
_LAST_CAPABILITY = 40
_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER, _FSETID = range(5)
_SYS_ADMIN, _SYS_NICE, _SYS_RESOURCE, _MKNOD, _SETFCAP = 21, 23, 24, 27, 31
# To read and write whatever belongs to anybody, with owners, devices, capabilities and trusted attributes; to open many
# files, and to be idle and no longer so.
_KEPT = sum(
    1 << number
    for number in (
        *(_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER, _FSETID),
        *(_SYS_ADMIN, _SYS_NICE, _SYS_RESOURCE, _MKNOD, _SETFCAP),
    )
)


def sync_file_system(folder: int) -> None:
    """Write the file system that an open folder is on to its disk (syncfs). Raises OSError."""
    if _LIBC.syncfs(ctypes.c_int(folder)) != 0:
        _raise("syncfs")


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


class Room(NamedTuple):
    """Bytes and files that may still be added to a file system; none or fewer: it is as full as it is to be."""

    bytes: int
    files: int

    @property
    def is_used_up(self) -> bool:
        return min(self) <= 0


def room_on(place: int | Path) -> Room:
    """Return what a copy may use of the file system that a path or an open folder is on. Raises OSError.

    A twentieth of it, and a gibibyte at most, is for whoever else writes there: a full disk stops them all. A twentieth
    of the number of files is left, too, where that is fixed.
    """
    found = os.statvfs(place)
    kept = min(found.f_blocks * found.f_frsize // _KEPT_SHARE, _MOST_KEPT)
    files = found.f_favail - found.f_files // _KEPT_SHARE if found.f_files else _MANY_FILES
    return Room(found.f_bavail * found.f_frsize - kept, files)


@contextlib.contextmanager
def read_only(folder: int) -> Iterator[int]:
    """Yield a descriptor of an open folder by which nothing can be written, and no device be opened.

    It is on a mount of its own, which nobody else sees. Where the kernel (before 5.12) or this process's rights do not
    allow that, it is the folder's own descriptor.
    """
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE
    tree = _LIBC.syscall(_OPEN_TREE, folder, b"", flags | _OPEN_TREE_CLONE | os.O_CLOEXEC)
    if tree < 0:
        yield folder
        return
    try:
        attributes = _MountAttributes(set=_MOUNT_READ_ONLY | _MOUNT_NO_DEVICES)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        if _LIBC.syscall(_MOUNT_SETATTR, tree, b"", flags, ctypes.byref(attributes), size) != 0:
            yield folder
            return
        found = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        try:
            yield found
        finally:
            os.close(found)
    finally:
        os.close(tree)


def bound_memory(most: int) -> None:
    """Let this process have so many bytes of its own at most: it raises MemoryError, and nobody else is killed."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def punch_hole(file: int, start: int, length: int) -> bool:
    """Make a hole in a file, which keeps its size; False where the file system cannot. Raises OSError."""
    flags = _FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE
    if _LIBC.fallocate(ctypes.c_int(file), flags, ctypes.c_longlong(start), ctypes.c_longlong(length)) == 0:
        return True
    if ctypes.get_errno() in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    return _raise("fallocate")


def be_idle(idle: bool) -> None:
    """Let this thread, and those that it starts from now on, have only what others leave of processor and disk.

    Where that cannot be set, they have what they had.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _IDLE_NICE if idle else 0)
    except PermissionError:
        return
    if number := _IOPRIO_SET.get(platform.machine()):
        _LIBC.syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE if idle else _IOPRIO_DEFAULT)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityHalf(ctypes.Structure):
    """Of 64 capabilities the lower 32 or the upper ones."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def keep_capabilities() -> None:
    """Give up all rights of root but those of `_KEPT`, for good. Of what it has no right to, nothing is said.

    Call it before there are threads: each has capabilities of its own. Raises OSError.
    """
    for number in range(_LAST_CAPABILITY + 1):
        if not _KEPT >> number & 1:
            _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # without the right to, there is nothing to give up
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, halves = _CapabilityHeader(_CAPABILITY_VERSION, 0), (_CapabilityHalf * 2)()
    if _LIBC.capget(ctypes.byref(header), halves) != 0:
        _raise("capget")
    for part, half in enumerate(halves):
        mask = _KEPT >> 32 * part & 0xFFFFFFFF
        half.effective &= mask
        half.permitted &= mask
        half.inheritable = 0
    if _LIBC.capset(ctypes.byref(header), halves) != 0:
        _raise("capset")


def _raise(call: str) -> bool:
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}")


_NO_ROOM = (ResourceExhausted, "the {side} has no room left for {what}: {reason}")
_NOT_ALLOWED = (PermissionDenied, "the {side}'s host does not allow this for {what}: {reason}")
_WORDS: dict[int, tuple[type[SwarmError], str]] = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EPERM: _NOT_ALLOWED,
    errno.EACCES: _NOT_ALLOWED,
    errno.ENAMETOOLONG: (
        FailedPrecondition,
        "the {side}'s file system does not take a name as long as that of {what}",
    ),
    errno.EOPNOTSUPP: (FailedPrecondition, "the {side}'s file system cannot keep all of {what}: {reason}"),
    errno.EFBIG: (FailedPrecondition, "{what} is larger than the {side} can have it"),
    errno.EROFS: (FailedPrecondition, "the {side}'s file system is read-only"),
}


def refusal(error: OSError, side: str, what: str) -> SwarmError:
    """Word what the kernel refused to do for a file. side: `source` or `target`; what: the file, for people."""
    reason = error.strerror or str(error)
    kind, words = _WORDS.get(error.errno or 0, (Unavailable, "the {side}'s disk fails for {what}: {reason}"))
    return kind(words.format(side=side, what=what, reason=reason))

"""Calls of the kernel that Python has no function for, and what a copying process does to itself."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

_LIBC = ctypes.CDLL(None, use_errno=True)
_FALLOC_KEEP_SIZE = 0x01
_FALLOC_PUNCH_HOLE = 0x02
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_IDLE = 3 << 13
_IOPRIO_DEFAULT = 0
_IDLE_NICE = 19


def sync_file_system(folder: int) -> None:
    """Write the file system that an open folder is on to its disk (syncfs). Raises OSError."""
    if _LIBC.syncfs(ctypes.c_int(folder)) != 0:
        _raise("syncfs")


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


def _raise(call: str) -> bool:
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}")

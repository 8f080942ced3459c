"""Show a running container another file at a path where it was given one: a program of its own.

    python -I worker/tasks/file_mount.py PID SOURCE TARGET [SOURCE TARGET …]

What a container has mounted can only be changed inside of its mount namespace, and a process may only enter one while
it has a single thread: an agent has more. So the agent starts this for a change, with the container's first process,
files of the task's tmpfs, and where they belong in the container. A reader there finds the old file or the new one,
whatever the root file system is; who has the old one open keeps it.

The paths in the container are its own to play with, links included. So each is looked up once, and nothing is done
unless a file of the same tmpfs is there: that proves the place, and that PID is still this container. Only the standard
library is used, and nothing is imported once the container's files are this process's own.

It needs Linux 5.12. From 6.5 on the new mount goes beneath the old, which then goes; before, it goes on top of it, and
the program says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Sequence

# What it prints when an old mount is still there, below the new.
COVERED = "covered"

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_CLONE_NEWNS = 0x20000
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_OPEN_TREE_CLONE = 1
_MOVE_FROM_EMPTY, _MOVE_TO_EMPTY, _MOVE_BENEATH = 0x4, 0x40, 0x200
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8
_PRIVATE = 1 << 18
# The C library has no functions for these everywhere; the numbers are the same on all architectures that engines have.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def system_call(name: str, *arguments: bytes | int) -> int:
    """Call a function of the C library that sets errno.

    Raises:
        OSError: it failed.

    """
    libc = ctypes.CDLL(None, use_errno=True)
    # Integers go as unsigned long, as mount(2) has its flags.
    converted = [ctypes.c_ulong(value) if isinstance(value, int) else ctypes.c_char_p(value) for value in arguments]
    result = int(getattr(libc, name)(*converted))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return result


def detached_mount(source: str) -> int:
    """Make a mount of a file, read-only and mounted nowhere yet; return its descriptor.

    It shares nothing with the mount that it is a copy of: what later goes on top of it would appear there as well.
    """
    mount = system_call("syscall", _OPEN_TREE, _AT_FDCWD, source.encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    flags = _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV | _ATTR_NOEXEC
    attributes = _MountAttributes(set=flags, propagation=_PRIVATE)
    size = ctypes.sizeof(attributes)
    system_call("syscall", _MOUNT_SETATTR, mount, b"", _AT_EMPTY_PATH, ctypes.addressof(attributes), size)
    return mount


def enter(pid: int) -> None:
    """Go into a process's mount namespace and root folder."""
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    # Its root is the namespace's own, but for engines that do not pivot.
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    system_call("setns", namespace, _CLONE_NEWNS)
    os.fchdir(root)
    os.chroot(".")


def put(mount: int, target: str) -> str:
    """Put a detached mount in the place of the one that is at `target`, both of one file system.

    Returns COVERED if the old one is still there, below: then its file must keep a name, for with the last name of a
    file the kernel takes away what is mounted on it.

    Raises:
        FileNotFoundError: nothing is there, or something else.

    """
    folder, name = os.path.split(os.path.realpath(target))
    os.chdir(folder)
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.fstat(place).st_dev != os.fstat(mount).st_dev:
        raise FileNotFoundError(errno.ENOENT, "another file is in the place of the task's file", target)
    try:
        _move(mount, place, _MOVE_BENEATH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        # A kernel that knows no such thing, or the file that it would be mounted on has lost its name.
        _move(mount, place, 0)
        return COVERED
    try:
        # The name cannot be given to another file meanwhile: a mount point is neither removed nor renamed.
        system_call("umount2", name.encode(), _MNT_DETACH | _UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The old one belongs to a user namespace above the container's, and stays: a second one on top of it.
        again = system_call("syscall", _OPEN_TREE, mount, b"", _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC)
        _move(again, place, 0)
        return COVERED
    return ""


def _move(mount: int, place: int, extra_flags: int) -> None:
    flags = _MOVE_FROM_EMPTY | _MOVE_TO_EMPTY | extra_flags
    system_call("syscall", _MOVE_MOUNT, mount, b"", place, b"", flags)


def main(arguments: Sequence[str]) -> int:
    pid, *paths = arguments
    pairs = list(zip(paths[::2], paths[1::2], strict=True))
    target, said = "", set()
    try:
        mounts = [(detached_mount(source), target) for source, target in pairs]
        enter(int(pid))
        for mount, target in mounts:
            said.add(put(mount, target))
    except OSError as error:
        call = f" ({error.filename})" if error.filename and error.filename != target else ""
        sys.stderr.write(f"{target or 'its files'}: {error.strerror}{call}\n")
        return 1
    sys.stdout.write(COVERED if COVERED in said else "")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

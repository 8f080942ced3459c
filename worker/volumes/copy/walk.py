"""Walks a folder by descriptors, so that nobody who swaps a folder for a link meanwhile leads it elsewhere."""

from __future__ import annotations

import errno
import os
import resource
import stat
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from common.errors import ResourceExhausted
from worker.volumes.copy.entries import SEPARATOR, show

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOATIME
# A pipe is opened without waiting for its other end.
_AT_ONCE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
Opener = Callable[[bytes, int, int], int | None]
_ENCODING = sys.getfilesystemencoding()
# What is there no more, or is something else by now. The next pass sees what.
VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENXIO)


class Found(NamedTuple):
    """A file: its path, the descriptor of the folder that it is in, its name there, and its status."""

    path: bytes
    folder: int
    name: bytes
    status: os.stat_result


def raise_open_files() -> None:
    """Let this process open as many files as it may: a walk has one open for each folder that it is in."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_root(path: str) -> int:
    return os.open(path, _FOLDER_FLAGS)


def open_folder(name: bytes, folder: int) -> int:
    """Open a folder in a folder. Raises OSError, of `VANISHED` if it is not one."""
    return os.open(name, _FOLDER_FLAGS, dir_fd=folder)


def open_regular(name: bytes, folder: int, flags: int) -> int | None:
    """Open a regular file and nothing else; None if it is none.

    A device must not even be opened: that alone has effects (a watchdog starts). So the name is resolved to a
    descriptor that only stands for what it is, and that is opened once it is known.
    """
    at = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(at).st_mode):
            return None
        return os.open(f"/proc/self/fd/{at}", flags | os.O_CLOEXEC | os.O_NOCTTY)
    finally:
        os.close(at)


def opener(root: int) -> Opener:
    """Return what does as `open_regular` for files below a folder: in one call where it is mounted without devices."""
    return _open_at_once if os.fstatvfs(root).f_flag & os.ST_NODEV else open_regular


def _open_at_once(name: bytes, folder: int, flags: int) -> int | None:
    try:
        file = os.open(name, flags | _AT_ONCE, dir_fd=folder)
    except OSError:
        return open_regular(name, folder, flags)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def walk(root: int) -> Iterator[Found]:
    """Yield the folder and all that is in it, in the order of paths, on the folder's file system alone.

    A descriptor that comes with a file is good until the next one is asked for. What vanishes meanwhile is left out.
    """
    status = os.fstat(root)
    yield Found(b"", root, b".", status)
    device = status.st_dev
    stack: list[tuple[bytes, int, Iterator[bytes]]] = [(b"", root, _names(root))]
    try:
        while stack:
            prefix, folder, names = stack[-1]
            for name in names:
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except OSError as error:
                    if error.errno in VANISHED:
                        continue
                    raise
                path = prefix + name
                if status.st_dev != device:
                    continue
                yield Found(path, folder, name, status)
                if stat.S_ISDIR(status.st_mode) and (inner := _enter(name, folder, path, device)) is not None:
                    stack.append((path + SEPARATOR, inner, _names(inner)))
                    break
            else:
                stack.pop()
                if folder != root:
                    os.close(folder)
    finally:
        for _, folder, _ in stack[1:]:
            os.close(folder)


def _enter(name: bytes, folder: int, path: bytes, device: int) -> int | None:
    try:
        inner = open_folder(name, folder)
    except OSError as error:
        if error.errno in VANISHED:
            return None
        if error.errno == errno.EMFILE:
            raise ResourceExhausted(f"{show(path)[:200]}… is nested deeper than this process may open files") from error
        raise
    if os.fstat(inner).st_dev != device:
        os.close(inner)
        return None
    return inner


def _names(folder: int) -> Iterator[bytes]:
    """Return the names in a folder, sorted: only they are kept, as a folder can have a million."""
    return iter(sorted([name.encode(_ENCODING, "surrogateescape") for name in os.listdir(folder)]))

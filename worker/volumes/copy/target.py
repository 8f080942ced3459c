"""Writes into the target folder, by descriptors: no path of the sender leads out of it, whatever is in it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from common.errors import FailedPrecondition, ProtocolError
from worker.volumes.copy.content import Buffer, write_all
from worker.volumes.copy.entries import (
    FORMATS,
    NANO,
    SEPARATOR,
    SYMLINK,
    Record,
    is_below,
    moved_attributes,
    moved_id,
    show,
)
from worker.volumes.copy.scan import read_attributes
from worker.volumes.copy.walk import VANISHED, open_folder, open_regular

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_DEFAULT_ACL = b"system.posix_acl_default"


class _Folder(NamedTuple):
    """An open folder. `gives`: what is made in it has attributes from it (a default ACL)."""

    path: bytes
    descriptor: int
    gives: bool


class Target:
    """The folder, of which one path after another is written. Close it.

    Nothing that belongs to a container runs on it meanwhile, so a file is written where it is to be.
    base: what is added to owners.
    """

    def __init__(self, root: int, base: int) -> None:
        self._root = root
        self._base = base
        # The folders that lead to the one that was used last, open: paths come in the order of a walk.
        self._open = [_Folder(b"", root, _gives_attributes(root))]
        self._own = os.geteuid(), os.getegid()

    def close(self) -> None:
        self._leave(0)

    # --- where it is --------------------------------------------------------------------------------------------------

    def folder(self, path: bytes) -> int:
        """Return a descriptor of a folder, good until the next call.

        Raises:
            ProtocolError: it is not one, so the sender cannot mean what it says.

        """
        depth = 0
        while depth + 1 < len(self._open) and _leads_to(self._open[depth + 1].path, path):
            depth += 1
        self._leave(depth)
        at, descriptor, _ = self._open[-1]
        for name in path[len(at) + bool(at) :].split(SEPARATOR) if path != at else ():
            at = at + SEPARATOR + name if at else name
            try:
                descriptor = open_folder(name, descriptor)
            except OSError as error:
                if error.errno in VANISHED:
                    raise ProtocolError(f"the sender takes {show(at)} for a folder, which it is not") from error
                raise
            self._open.append(_Folder(at, descriptor, _gives_attributes(descriptor)))
        return descriptor

    def _leave(self, depth: int) -> None:
        while len(self._open) > depth + 1:
            os.close(self._open.pop().descriptor)

    def place(self, path: bytes) -> tuple[int, bytes]:
        """Return the folder that a path is in, and its name there."""
        if not path:
            return self._root, b"."
        folder, _, name = path.rpartition(SEPARATOR)
        return self.folder(folder), name

    def status(self, path: bytes) -> os.stat_result:
        folder, name = self.place(path)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    # --- making and removing ------------------------------------------------------------------------------------------

    def remove(self, path: bytes) -> None:
        """Remove whatever is there, with all that is in it."""
        if not path:
            raise ProtocolError("the sender wants the folder itself removed")
        with contextlib.suppress(FileNotFoundError):
            _remove(*self.place(path))

    def make_folder(self, path: bytes) -> None:
        """Let there be a folder. Whoever makes one sets its metadata when nothing more changes in it."""
        if not path:
            return
        folder, name = self.place(path)
        try:
            os.mkdir(name, _PRIVATE_FOLDER, dir_fd=folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                _remove(folder, name)
                os.mkdir(name, _PRIVATE_FOLDER, dir_fd=folder)

    def make_file(self, path: bytes, mode: int = _PRIVATE_FILE) -> int:
        """Make an empty file in the place of whatever is there; return it open."""
        folder, name = self.place(path)
        try:
            return os.open(name, _NEW_FILE, mode, dir_fd=folder)
        except FileExistsError:
            _remove(folder, name)
            return os.open(name, _NEW_FILE, mode, dir_fd=folder)

    def write_file(self, path: bytes, content: Buffer, record: Record) -> os.stat_result:
        """Make a file with this content and metadata in the place of whatever is there; return its status."""
        # Of a file that stays this process's own nobody else may read more than of the one that is copied.
        is_own = self._owners(record) == self._own
        file = self.make_file(path, record.mode if is_own else _PRIVATE_FILE)
        try:
            if content:
                write_all(file, content, 0)
            if is_own and not record.attributes and not self._open[-1].gives:
                os.utime(file, ns=_times(record))
                status = os.fstat(file)
                if not self._differs(record, status):
                    return status
            return self.set_metadata(path, file, record)
        finally:
            os.close(file)

    def open_file(self, path: bytes) -> int:
        """Open the regular file that is there.

        Raises:
            ProtocolError: it is not one, so the sender cannot mean what it says.

        """
        folder, name = self.place(path)
        try:
            file = open_regular(name, folder, os.O_RDWR)
        except OSError as error:
            if error.errno not in VANISHED:
                raise
            file = None
        if file is None:
            raise ProtocolError(f"the sender takes {show(path)} for a file that is there already, which it is not")
        return file

    def make_link(self, path: bytes, first: bytes) -> None:
        """Let a path be the same file as another."""
        self.remove(path)
        folder, name = self.place(first)
        # Finding the second place may close the first folder.
        folder = os.dup(folder)
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise ProtocolError(f"the sender takes {show(first)} for a file, which it is not")
            to, as_name = self.place(path)
            os.link(name, as_name, src_dir_fd=folder, dst_dir_fd=to, follow_symlinks=False)
        except FileNotFoundError as error:
            raise ProtocolError(f"the sender takes {show(first)} for a file, which it is not") from error
        finally:
            os.close(folder)

    def make_other(self, path: bytes, record: Record) -> os.stat_result:
        """Make a symbolic link, device, pipe or socket in the place of whatever is there; return its status."""
        self.remove(path)
        folder, name = self.place(path)
        if record.kind == SYMLINK:
            os.symlink(record.target, name, dir_fd=folder)
            self._set_link(folder, name, record)
        else:
            os.mknod(name, FORMATS[record.kind] | _PRIVATE_FILE, record.device, dir_fd=folder)
            # Not opened: that would have effects. It was made just now, and nobody else is in this folder.
            self._set(f"/proc/self/fd/{folder}/".encode() + name, record)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        self._check(path, record, status)
        return status

    # --- metadata -----------------------------------------------------------------------------------------------------

    def set_metadata(self, path: bytes, file: int, record: Record) -> os.stat_result:
        """Give an open file or folder its owner, mode, attributes and time; return its status then.

        Raises:
            FailedPrecondition: the file system does not keep one of them.

        """
        self._set(file, record)
        if any(name == _DEFAULT_ACL for name, _ in record.attributes):  # of a folder, which may be open here
            self._open = [each._replace(gives=True) for each in self._open]
        status = os.fstat(file)
        self._check(path, record, status)
        return status

    def _set(self, at: int | bytes, record: Record) -> None:
        """Set metadata in the order in which none undoes another: a new owner takes mode bits and capabilities away."""
        os.chown(at, *self._owners(record))
        wanted = moved_attributes(record.attributes, self._base)
        there = read_attributes(at)
        for name, _ in there:
            if name not in (each for each, _ in wanted):
                os.removexattr(at, name)
        os.chmod(at, record.mode)  # noqa: PTH101  # of a descriptor
        for name, value in wanted:
            os.setxattr(at, name, value)
        os.utime(at, ns=_times(record))

    def _set_link(self, folder: int, name: bytes, record: Record) -> None:
        os.chown(name, *self._owners(record), dir_fd=folder, follow_symlinks=False)
        at = f"/proc/self/fd/{folder}/".encode() + name
        for key, value in moved_attributes(record.attributes, self._base):
            os.setxattr(at, key, value, follow_symlinks=False)
        os.utime(name, ns=_times(record), dir_fd=folder, follow_symlinks=False)

    def _owners(self, record: Record) -> tuple[int, int]:
        return moved_id(record.uid, self._base), moved_id(record.gid, self._base)

    def _check(self, path: bytes, record: Record, status: os.stat_result) -> None:
        if what := self._differs(record, status):
            raise FailedPrecondition(f"the target's file system does not keep {what} of {show(path)}")

    def _differs(self, record: Record, status: os.stat_result) -> str:
        """Say what of a file is not as its record says; empty if all is."""
        if (status.st_uid, status.st_gid) != self._owners(record) or stat.S_IMODE(status.st_mode) != record.mode:
            return "owner and mode"
        return "the exact time" if status.st_mtime_ns != _times(record)[1] else ""


def _times(record: Record) -> tuple[int, int]:
    """Return times of access and of modification, of which only the second is copied, in nanoseconds."""
    return (record.mtime * NANO + record.nanoseconds,) * 2


def _gives_attributes(folder: int) -> bool:
    return any(name == _DEFAULT_ACL for name, _ in read_attributes(folder))


def _leads_to(folder: bytes, path: bytes) -> bool:
    return path == folder or is_below(path, folder)


def _remove(folder: int, name: bytes) -> None:
    """Remove a file, or a folder with all that is in it, however deep it is."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        _remove_folder(folder, name)


def _remove_folder(parent: int, name: bytes) -> None:
    """Remove a folder with all that is in it. Each is listed once: it may have a great many others in it."""
    stack = [(parent, name, *_listed(parent, name))]
    try:
        while stack:
            parent, name, folder, names = stack[-1]
            for each in names:  # goes on where it was left for what is below
                try:
                    os.unlink(each, dir_fd=folder)
                except IsADirectoryError:
                    stack.append((folder, each, *_listed(folder, each)))
                    break
            else:
                stack.pop()
                os.close(folder)
                os.rmdir(name, dir_fd=parent)
    finally:
        for _, _, folder, _ in stack:
            os.close(folder)


def _listed(parent: int, name: bytes) -> tuple[int, Iterator[bytes]]:
    """Open a folder; return it, and the names that are in it."""
    folder = open_folder(name, parent)
    try:
        return folder, map(os.fsencode, os.listdir(folder))  # noqa: PTH208  # of a descriptor
    except BaseException:
        os.close(folder)
        raise

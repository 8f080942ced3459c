"""Files and folders that are for their owner only: what both programs keep in their data directories."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from common.errors import PermissionDenied, Unavailable

IN_USE = "another process has it open, probably its daemon: stop that first"


def private_folder(path: Path) -> None:
    """Have a data directory; one that is there already keeps its mode.

    Raises:
        Unavailable: it cannot be made.

    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make the data directory {path}: {error.strerror}") from error


def usable_folder(path: Path) -> Path:
    """Return a data directory, which need not be there yet.

    Raises:
        PermissionDenied: it is another user's.

    """
    if os.path.lexists(path) and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionDenied(f"permission denied: {path} is another user's: run this command as root, or with sudo")
    return path


def lock_folder(path: Path) -> int:
    """Lock a data directory for this process and return the open directory, which holds the lock until it is closed.

    Raises:
        Unavailable: another process has it.

    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise Unavailable(f"{path} is in use: {IN_USE}") from None
    return folder


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step; only its owner may read it, and it is on disk when this returns."""
    with private_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that replaces `path` in one step when the block ends well; else `path` is left as it was.

    Only its owner may read it, and it is on disk when the block has ended.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it must open the descriptor made with this mode
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        raise
    sync_folder(path.parent)


def replace_secret(path: Path, data: bytes) -> None:
    """As `write_private`; what the file had before is overwritten."""
    erase_replaced(path)
    with contextlib.suppress(FileNotFoundError):
        os.link(path, _replaced(path))
    write_private(path, data)
    erase_replaced(path)


def erase_replaced(path: Path) -> None:
    """Overwrite what a `replace_secret` that was interrupted has left of a file's content before."""
    before = _replaced(path)
    if before.exists() and path.exists() and before.samefile(path):  # it was not replaced yet
        before.unlink()
    else:
        erase_file(before)


def _replaced(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def erase_file(path: Path) -> None:
    """Overwrite a file in place, and remove it; one that is not there is no error."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(descriptor, bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Return when the names of a folder's files are on disk as they are now."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

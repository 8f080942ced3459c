"""Errors of the store's file, with messages that say what to do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from common.errors import Unavailable
from common.process.private_files import IN_USE

WHAT_IS_LEFT = "restore a backup, or run 'swarm-manager repair' to see what is left"

_HINTS = {
    "database or disk is full": "free some space on that disk; nothing of this change was stored",
    "database is locked": IN_USE,
    "file is not a database": f"it is damaged: {WHAT_IS_LEFT}",
    "database disk image is malformed": f"it is damaged: {WHAT_IS_LEFT}",
    "unable to open database file": "check that its directory exists and may be written",
    "attempt to write a readonly database": "check the file's owner and that its disk is mounted writable",
}


class Damaged(Unavailable):
    """A damaged store. It is not changed until a person says what to do."""


@contextlib.contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Translate errors of the store at `path`.

    Raises:
        Unavailable: in place of what SQLite and the system raise.

    """
    try:
        yield
    except sqlite3.Error as error:
        hint = _HINTS.get(str(error), "look at the disk and at the manager's log")
        raise Unavailable(f"the store {path} failed: {error}: {hint}") from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Unavailable(
            f"the store {path} failed: {error.strerror}{where}: look at its directory, and who owns the files"
        ) from error

"""The store on one SQLite file: WAL, `synchronous=FULL`, one writer thread, a versioned schema.

One manager at a time has it, by a lock on its directory; SQLite's own locks let others read it meanwhile (`snapshot`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, get_args

import msgspec

from common.errors import Unavailable
from common.model import StoredObject
from common.version import version
from manager.state.backend import Loaded
from manager.state.changes import ChangeSet

R = TypeVar("R")

# Each entry takes the schema one version further. Never change one that has been released: append.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE objects (
        kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE position (only INTEGER PRIMARY KEY CHECK (only = 1), last_index INTEGER NOT NULL);
    INSERT INTO position VALUES (1, 0);
    """,
)

_SECOND = "another process has it open: is a second manager running on this data directory?"
_DAMAGED = "it is damaged or another kind of file: restore it from a backup"
_KINDS: dict[str, type[StoredObject]] = {kind.__name__.lower(): kind for kind in get_args(StoredObject)}


class SqliteBackend:
    """The file at `path`, made with mode 0600 when it is not there. One process at a time may have it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._database: sqlite3.Connection | None = None
        self._claim: int | None = None

    async def load(self) -> Loaded:
        return await self._in_thread(self._load)

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        await self._in_thread(lambda: self._commit(change_sets))

    async def close(self) -> None:
        await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], R]) -> R:
        """Run `work` in the writer's thread, to its end even when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.shield(loop.run_in_executor(self._thread, work))
        except sqlite3.Error as error:
            raise Unavailable(self._explain(error)) from error
        except OSError as error:
            raise Unavailable(f"the store {self._path} failed: {error.strerror}: look at its directory") from error

    def _explain(self, error: sqlite3.Error) -> str:
        hint = {
            "database or disk is full": "free some space on that disk; nothing of this change was stored",
            "database is locked": _SECOND,
            "file is not a database": _DAMAGED,
            "database disk image is malformed": _DAMAGED,
            "unable to open database file": "check that its directory exists and may be written",
            "attempt to write a readonly database": "check the file's owner and that its disk is mounted writable",
        }.get(str(error), _DAMAGED if str(error).startswith("no such") else "look at the disk and at the manager's log")
        return f"the store {self._path} failed: {error}: {hint}"

    def _load(self) -> Loaded:
        try:
            return self._open()
        except BaseException:
            self._close()
            raise

    def _open(self) -> Loaded:
        self._claim = _claimed(self._path)
        self._path.touch(mode=0o600, exist_ok=True)
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1.0)
        self._database = database
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            database.execute(f"PRAGMA {pragma}")
        migrate(database, self._path)
        position = database.execute("SELECT last_index FROM position").fetchone()
        if position is None:
            raise Unavailable(f"the store {self._path} does not say how far it got: {_DAMAGED}")
        return Loaded(position[0], tuple(_decoded(database, self._path)))

    def _commit(self, change_sets: Sequence[ChangeSet]) -> None:
        database = self._database
        if database is None:
            raise Unavailable(f"the store {self._path} is not open")
        puts, removals = _rows(change_sets)
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", puts)
            database.executemany("DELETE FROM objects WHERE kind = ? AND id = ?", removals)
            database.execute("UPDATE position SET last_index = ?", (change_sets[-1].index,))
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None


def snapshot(path: Path, copy: Path) -> None:
    """Copy the store at `path` to the new file `copy` as it is at one instant, whether a manager has it open or not.

    Raises:
        Unavailable: it cannot be read, or the copy not be written.

    """
    try:
        copy.touch(mode=0o600, exist_ok=False)
        there = f"{path.as_uri()}?mode=rw"  # one that is not there is not made
        with contextlib.closing(sqlite3.connect(there, uri=True, isolation_level=None)) as database:
            database.execute("VACUUM INTO ?", (str(copy),))
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Unavailable(f"cannot copy the store {path} to {copy}: {reason}") from error


def _claimed(path: Path) -> int:
    """Lock the store's directory for this process and return the open directory, which holds the lock.

    Raises:
        Unavailable: another process has it.

    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise Unavailable(f"the store {path} is locked: {_SECOND}") from None
    return folder


def migrate(database: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to this program's version, all steps or none.

    Raises:
        Unavailable: the file was written by a newer program.

    """
    (schema,) = database.execute("PRAGMA user_version").fetchone()
    if schema > len(MIGRATIONS):
        text = f"the store {path} has schema {schema}, release {version()} knows {len(MIGRATIONS)}: install a newer one"
        raise Unavailable(text)
    for number, script in enumerate(MIGRATIONS[schema:], start=schema + 1):
        database.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def _decoded(database: sqlite3.Connection, path: Path) -> Iterator[StoredObject]:
    """Read all objects. None is left out: the cluster would forget it, and who uses it would not.

    Raises:
        Unavailable: one is of a kind that this program does not know, or is damaged.

    """
    decoders = {name: msgspec.msgpack.Decoder(kind) for name, kind in _KINDS.items()}
    for kind, object_id, body in database.execute("SELECT kind, id, body FROM objects"):
        decoder = decoders.get(kind)
        if decoder is None:
            raise Unavailable(
                f"the store {path} has objects of kind {kind!r}, which release {version()} does not know: "
                "a newer one has written it, install that again"
            )
        try:
            yield decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise Unavailable(
                f"the store {path} has a {kind} {object_id!r} that release {version()} cannot read ({error}): "
                "install the release that has written it; if it is that one, restore the file from a backup"
            ) from error


def _rows(change_sets: Sequence[ChangeSet]) -> tuple[list[tuple[str, str, bytes]], list[tuple[str, str]]]:
    """Return the rows to write and to delete: the last word on each object, whatever happened to it in between."""
    encode = msgspec.msgpack.Encoder().encode
    last: dict[tuple[str, str], StoredObject | None] = {}
    for change_set in change_sets:
        for change in change_set.changes:
            last[type(change.current).__name__.lower(), change.current.id] = change.new
    puts = [(kind, object_id, encode(value)) for (kind, object_id), value in last.items() if value is not None]
    return puts, [key for key, value in last.items() if value is None]

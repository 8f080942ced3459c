"""The store in one SQLite file, by one writer thread: WAL, `synchronous=FULL`.

What was secret and is removed or replaced is overwritten, in the file and in its log, before the commit's caller hears
of it. A store that is not whole is refused and left as it is (`contents`). One manager at a time has it, by a lock on
its directory; SQLite's own locks let others read it meanwhile (`snapshot`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from common.errors import Unavailable
from common.model import StoredObject, Task
from common.process.private_files import lock_folder
from manager.store.backend import Loaded
from manager.store.backends.confirmed import ConfirmedFile, Position
from manager.store.backends.contents import Contents, read
from manager.store.backends.failures import explaining
from manager.store.backends.schema import KIND as SPEC
from manager.store.backends.schema import (
    MIGRATIONS,
    SPECS,
    VAULT,
    Referrer,
    forgets_secrets,
    kind_of,
    migrate,
    path_of,
    row_digest,
    schema_of,
    table_of,
    wrap_sum,
)
from manager.store.backends.sealed import Seal
from manager.store.changes import ChangeSet

R = TypeVar("R")

# While something else reads the store its log cannot be emptied: a backup takes about a second.
_ERASE_AGAIN_SECONDS = 1.0
_CHANGES_OF_COMMIT = 20_000

_NOW = schema_of(len(MIGRATIONS))
_BUSY_MILLISECONDS = 1000
# By table; all of its statements are ours.
_DIGESTS, _PUT, _REMOVE = (
    {table: statement.format(table) for table in _NOW.tables}
    for statement in (
        "SELECT digest FROM {} WHERE kind = ? AND id IN (SELECT value FROM json_each(?))",
        "INSERT OR REPLACE INTO {} VALUES (?, ?, ?, ?)",
        "DELETE FROM {} WHERE kind = ? AND id = ?",
    )
)
_log = logging.getLogger(__name__)


class SqliteBackend:
    """The file at `path`; one process at a time may have it open. `fresh`: as `StoreFile` has it."""

    def __init__(self, path: Path, seal: Seal, *, fresh: bool = False) -> None:
        self._path = path
        self._file = StoreFile(path, seal, fresh=fresh)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._erasing: asyncio.Task[None] | None = None

    async def load(self) -> Loaded:
        loaded = await self._in_thread(self._file.open)
        self._see_to_erasure()
        return loaded

    def share_of_commit(self, change_set: ChangeSet) -> float:
        return len(change_set.changes) / _CHANGES_OF_COMMIT

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        await self._in_thread(lambda: self._file.commit(change_sets))
        self._see_to_erasure()

    async def close(self) -> None:
        if self._erasing is not None:
            self._erasing.cancel()
            await asyncio.wait([self._erasing])
        await self._in_thread(self._file.close)
        self._thread.shutdown(wait=False)

    def _see_to_erasure(self) -> None:
        if self._file.unerased and (self._erasing is None or self._erasing.done()):
            self._erasing = asyncio.create_task(self._erase(), name="store-erasing")

    async def _erase(self) -> None:
        while self._file.unerased:
            await asyncio.sleep(_ERASE_AGAIN_SECONDS)
            await self._in_thread(self._file.erase_log)

    async def _in_thread(self, work: Callable[[], R]) -> R:
        """Run `work` in the writer's thread, to its end even when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        with explaining(self._path):
            return await asyncio.shield(loop.run_in_executor(self._thread, work))


# --- the file, used from one thread at a time ---


class StoreFile:
    """The file at `path`, in which objects with something secret are sealed. `open` first, `close` last.

    `fresh`: it was made just now, or is to be made, with mode 0600; else one that is missing or empty was damaged.
    """

    def __init__(self, path: Path, seal: Seal, *, fresh: bool) -> None:
        self._path = path
        self._seal = seal
        self._fresh = fresh
        self._confirmed = ConfirmedFile(path)
        self._database: sqlite3.Connection | None = None
        self._claim: int | None = None
        self._position = Position()
        # The specifications that are stored, and those that no task named when they were read: the next commit's to go.
        self._specs: set[str] = set()
        self._unnamed: frozenset[str] = frozenset()
        self._warned = False
        # Whether the log has, or may have, something in it that was secret and is removed.
        self.unerased = True

    def open(self) -> Loaded:
        """Read everything, and be ready to write. A file that is not whole is left as it is.

        Raises:
            Damaged: it is not all that it should be.
            Unavailable: another process has it, or a newer release wrote it.
            sqlite3.Error: it cannot be read or written.
            OSError: likewise.

        """
        try:
            return self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> Loaded:
        self._claim = lock_folder(self._path.parent)
        contents = self._whole_contents()
        # SQLite takes a file that may not be written for one to be read, and says so at the first commit only.
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{ending}").open("r+b").close()
        database = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
        )
        self._database = database
        for pragma in (
            f"busy_timeout={_BUSY_MILLISECONDS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=ON",
            "temp_store=MEMORY",  # no copy of a secret in a temporary file
        ):
            database.execute(f"PRAGMA {pragma}")
        if 0 < contents.schema.version < len(MIGRATIONS):
            _log.info("bringing the store %s to schema %d, in which secrets are sealed", self._path, len(MIGRATIONS))
        migrate(database, self._seal)
        self._specs.update(found for (found,) in database.execute(f"SELECT id FROM {SPECS}"))  # noqa: S608 - ours
        self._unnamed = contents.unnamed_specs
        self._position = Position(*database.execute(_NOW.position).fetchone())
        self._confirmed.open(self._position)
        self.erase_log()
        return Loaded(self._position.index, contents.objects)

    def _whole_contents(self) -> Contents:
        if self._fresh and not (self._path.exists() and self._path.stat().st_size):
            self._path.touch(mode=0o600, exist_ok=True)
            return Contents()
        contents = read(self._path, self._seal)
        contents.check(self._path)
        if contents.confirmed is None and contents.schema.has_digests and not self._fresh:
            _log.warning(
                "nothing beside %s says how far it had come: whether changes are missing is not known", self._path
            )
        return contents

    def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        """Make the change sets durable, all or none, and overwrite secrets that they remove.

        Raises:
            Unavailable: it is not open.
            sqlite3.Error: nothing was stored.

        """
        database = self._database
        if database is None:
            raise Unavailable(f"the store {self._path} is not open")
        forgets = any(forgets_secrets(change) for change_set in change_sets for change in change_set.changes)
        database.execute("BEGIN IMMEDIATE")
        try:
            rows = _Rows(change_sets, self._seal)
            position = rows.write(database, self._position, self._specs, self._unnamed - rows.specs.keys())
            if forgets:
                _refill(database, VAULT)
            fields = msgspec.structs.astuple(position)
            database.execute("UPDATE reached SET last_index = ?, count = ?, checksum = ?, time = ?", fields)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self._specs = (self._specs - self._unnamed) | rows.specs.keys()
        self._unnamed = frozenset()
        self._position = position
        self._confirmed.note(position)
        if forgets:
            self.unerased = True
            self.erase_log()

    def erase_log(self) -> None:
        """Bring all of the log into the file and empty it, so that nothing of what was removed is left in it.

        That is not possible while another process reads the store, or if the disk is full: `unerased` stays true then.
        """
        database = self._database
        assert database is not None, "open() comes first"
        try:
            database.execute("PRAGMA busy_timeout=0")
            (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            if not self._warned:
                _log.warning("removed secrets can still be read in %s-wal (%s): trying again", self._path, error)
            self._warned = True
        else:
            self.unerased = bool(busy)
            self._warned = False
        finally:
            database.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        self._confirmed.close()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None


def snapshot(path: Path, copy: Path) -> None:
    """Copy the store at `path` to the new file `copy` as it is at one instant, whether a manager has it open or not.

    Raises:
        Unavailable: it cannot be read, or the copy not be written.

    """
    with explaining(path):
        copy.touch(mode=0o600, exist_ok=False)
        # To be read only: who closes the last connection that may write would bring the log into a damaged file.
        there = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(there, uri=True, isolation_level=None)) as database:
            database.execute("VACUUM INTO ?", (str(copy),))


class _Rows:
    """The rows of a commit: the last word on each object, whatever happened to it in between.

    `specs` are those of the specifications that its tasks name, by id.
    """

    def __init__(self, change_sets: Sequence[ChangeSet], seal: Seal) -> None:
        self._last: defaultdict[str, dict[str, StoredObject | None]] = defaultdict(dict)
        for change_set in change_sets:
            for change in change_set.changes:
                self._last[kind_of(change.current)][change.current.id] = change.new
        self._index = change_sets[-1].index
        self._seal = seal
        self._encode = msgspec.msgpack.Encoder().encode
        self._referrer = Referrer()
        self.specs: dict[str, bytes] = {}
        self._bodies = {
            kind: {object_id: self._body(kind, value) for object_id, value in values.items() if value is not None}
            for kind, values in self._last.items()
        }

    def _body(self, kind: str, value: StoredObject) -> bytes:
        if isinstance(value, Task):
            referring = self._referrer.refer(value)
            self.specs[referring.spec_id] = referring.spec
            return referring.body
        body = self._encode(value)
        return self._seal.seal(path_of(kind, value.id), body) if table_of(kind) == VAULT else body

    def write(
        self, database: sqlite3.Connection, before: Position, stored: AbstractSet[str], unnamed: Iterable[str]
    ) -> Position:
        """Write them, of the specifications those that are not `stored` yet, and remove `unnamed` ones.

        Returns the position that results.
        """
        specs = {spec_id: body for spec_id, body in self.specs.items() if spec_id not in stored}
        changes = [(SPECS, SPEC, specs, [*specs, *unnamed])]
        changes += [(table_of(kind), kind, self._bodies[kind], [*values]) for kind, values in self._last.items()]
        count, checksum = before.count, before.checksum
        for table, kind, bodies, ids in changes:
            old = database.execute(_DIGESTS[table], (kind, msgspec.json.encode(ids).decode())).fetchall() if ids else []
            rows = [(kind, object_id, body, row_digest(kind, object_id, body)) for object_id, body in bodies.items()]
            database.executemany(_PUT[table], rows)
            database.executemany(_REMOVE[table], [(kind, object_id) for object_id in ids if object_id not in bodies])
            count += len(rows) - len(old)
            checksum += sum(digest for *_, digest in rows) - sum(digest for (digest,) in old)
        return Position(self._index, count, wrap_sum(checksum), time.time())


def _refill(database: sqlite3.Connection, table: str) -> None:
    """Empty a table, which overwrites all of its pages, and fill it again."""
    rows = database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - ours
    database.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
    database.executemany(_PUT[table], rows)

"""What the other side has, or this side's folder had when it was last looked at: on disk, in the order of a walk.

SQLite, for its order and its all-or-nothing batches; it does not wait for the disk. A process that is killed loses
nothing by that. A host that loses power may, and its folder's files likewise: so an index of before the host's start is
not believed.

A folder and its index are walked side by side: both are in the order of paths, so neither need be in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from common.errors import ResourceExhausted
from worker.volumes.copy.entries import MIB, SEPARATOR
from worker.volumes.copy.system import room_on
from worker.volumes.copy.walk import Found

# Raised where what a row has changes: an index of another format is begun anew.
_FORMAT = 2
_BATCH = 1000
# Of files with nothing but holes the other side says little, and their rows are large.
_BATCH_BYTES = 16 * MIB
_AFTER_SEPARATOR = bytes([SEPARATOR[0] + 1])
_TABLE = "(path BLOB PRIMARY KEY, key BLOB NOT NULL, record BLOB NOT NULL, blocks BLOB NOT NULL) WITHOUT ROWID"
_PUT = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)"
_DISTRUST = "UPDATE files SET key = x'' WHERE path = ?"
_ALL = "SELECT * FROM files "
_FIRST_PAGE = _ALL + "ORDER BY path LIMIT 1000"
_NEXT_PAGE = _ALL + "WHERE path > ? ORDER BY path LIMIT 1000"
_LAST_DISTRUSTED = _ALL + "WHERE key = x'' ORDER BY path DESC LIMIT 1000"
_DISTRUSTED_BEFORE = _ALL + "WHERE key = x'' AND path < ? ORDER BY path DESC LIMIT 1000"


class Row(NamedTuple):
    """A file as it was.

    key: what its status was (`scan.key_of`); empty if its content may be another by now. blocks: the digests of its
    blocks, packed (`digests.py`).
    """

    path: bytes
    key: bytes
    record: bytes
    blocks: bytes


class TreeDigest:
    """Stands for all files of a folder, added in the order of their paths."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()

    def add(self, path: bytes, record: bytes) -> None:
        self._whole.update(b"%d %d %b%b" % (len(path), len(record), path, record))

    def digest(self) -> bytes:
        return self._whole.digest()


class Index:
    """An open index. `identity` is what it must have been made for; one that was not is begun anew."""

    def __init__(self, file: Path, identity: bytes) -> None:
        self._file = file
        self._puts: list[Row] = []
        self._waiting = 0
        self._distrusted: set[bytes] = set()
        try:
            self._database = _open(file)
            found = self._database.execute("SELECT identity FROM header").fetchone()
        except sqlite3.DatabaseError:
            found = None
        if found != (identity,):
            with contextlib.suppress(AttributeError):
                self._database.close()
            for each in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
                each.unlink(missing_ok=True)
            self._database = _open(file)
            self._database.execute("INSERT INTO header VALUES (?)", (identity,))

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._database.close()

    def put(self, row: Row) -> None:
        """Put a file. Raises ResourceExhausted: its disk is full."""
        self._puts.append(row)
        self._waiting += len(row.path) + len(row.record) + len(row.blocks)
        if len(self._puts) >= _BATCH or self._waiting >= _BATCH_BYTES:
            self.flush()

    def get(self, path: bytes) -> Row | None:
        self.flush()
        found = self._database.execute("SELECT * FROM files WHERE path = ?", (path,)).fetchone()
        return Row(*found) if found else None

    def remove(self, path: bytes) -> None:
        """Forget a file, and what is below it."""
        self.flush()
        below, after = path + SEPARATOR, path + _AFTER_SEPARATOR
        self._database.execute("DELETE FROM files WHERE path = ? OR (path >= ? AND path < ?)", (path, below, after))

    def distrust(self, path: bytes) -> None:
        """Empty a file's key."""
        self._distrusted.add(path)
        if len(self._distrusted) >= _BATCH:
            self.flush()

    def distrust_all(self) -> None:
        self.flush()
        self._database.execute("UPDATE files SET key = x''")

    def digest(self) -> bytes:
        """Return what stands for all files."""
        self.flush()
        whole = TreeDigest()
        for path, record in self._database.execute("SELECT path, record FROM files ORDER BY path"):
            whole.add(path, record)
        return whole.digest()

    def flush(self) -> None:
        if self._puts or self._distrusted:
            if room_on(self._file.parent).is_used_up:
                raise ResourceExhausted(f"there is too little room for the index of the copy, in {self._file}")
            with self._transaction():
                self._database.executemany(_PUT, self._puts)
                self._database.executemany(_DISTRUST, [(each,) for each in self._distrusted])
            self._puts.clear()
            self._waiting = 0
            self._distrusted.clear()

    def rows(self) -> Iterator[Row]:
        """Yield all files in the order of paths. Those that were passed may be changed meanwhile."""
        return self._pages(_FIRST_PAGE, _NEXT_PAGE)

    def distrusted(self) -> Iterator[Row]:
        """Yield the files without a key, what is in a folder before the folder. Those that were passed may change."""
        return self._pages(_LAST_DISTRUSTED, _DISTRUSTED_BEFORE)

    def _pages(self, first: str, following: str) -> Iterator[Row]:
        self.flush()
        rows = self._page(first)
        while rows:
            last = rows[-1].path
            yield from rows
            rows = self._page(following, last)

    def _page(self, query: str, *after: bytes) -> list[Row]:
        """Read a page, which ends early where its rows are large."""
        rows, size = [], 0
        with contextlib.closing(self._database.execute(query, after)) as found:
            for each in map(Row._make, found):
                rows.append(each)
                if (size := size + len(each.blocks)) >= _BATCH_BYTES:
                    break
        return rows

    # --- taking over what the other side has --------------------------------------------------------------------------

    def begin_replacing(self) -> None:
        """From now on only what `replace` is given is there."""
        self.flush()
        with self._transaction():
            self._database.execute("DROP TABLE IF EXISTS former")
            self._database.execute("ALTER TABLE files RENAME TO former")
            self._database.execute(f"CREATE TABLE files {_TABLE}")

    def replace(self, path: bytes, record: bytes, blocks: bytes) -> None:
        """Put a file; its key is kept if its record was the same."""
        key = self._database.execute("SELECT key FROM former WHERE path = ? AND record = ?", (path, record)).fetchone()
        self.put(Row(path, key[0] if key else b"", record, blocks))

    def end_replacing(self) -> None:
        self.flush()
        self._database.execute("DROP TABLE former")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _open(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")
    if database.execute("PRAGMA user_version").fetchone() != (_FORMAT,):
        database.execute(f"CREATE TABLE files {_TABLE}")
        database.execute("CREATE TABLE header (identity BLOB NOT NULL)")
        database.execute(f"PRAGMA user_version = {_FORMAT}")
    return database


def merge(walked: Iterable[Found], rows: Iterable[Row]) -> Iterator[tuple[Found, Row | None] | tuple[None, Row]]:
    """Yield each file with its row; a file that is new without one, a row whose file is gone without a file."""
    ahead = iter(rows)
    row = next(ahead, None)
    for found in walked:
        while row is not None and row.path < found.path:
            yield None, row
            row = next(ahead, None)
        if row is not None and row.path == found.path:
            yield found, row
            row = next(ahead, None)
        else:
            yield found, None
    while row is not None:
        yield None, row
        row = next(ahead, None)

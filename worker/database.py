"""What the agent remembers over a restart: its last assignment set, without the secrets, and the state of each task.

SQLite in a thread of its own. A lost write is harmless, as the manager sends the set again and the engine knows the
containers: so writes do not wait for the disk, and a full disk does not end the worker. A part of a set would do harm:
so it is a database, and where a part of a set could not be stored, nothing of the set is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from common.errors import Unavailable
from common.model.attachment import NetworkAttachment
from common.model.network import Network
from common.model.secret import Config
from common.model.task import Task, TaskStatus
from common.version import version
from common.wire.messages import Assignments, Peer, ServiceEndpoint, TaskReport
from worker.assignments import AssignmentSet

SCHEMA_VERSION = 1
_KINDS: tuple[tuple[str, type[Any], str], ...] = (
    ("task", Task, "id"),
    ("config", Config, "id"),
    ("network", Network, "id"),
    ("attachment", NetworkAttachment, "id"),
    ("endpoint", ServiceEndpoint, "service_id"),
    ("peer", Peer, "node_id"),
)

# Errors of the disk: they say nothing about the file's content.
_DISK_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_FIRST_BYTES = 1 << 16
_NOTHING = Assignments(complete=True, results_in=0)

T = TypeVar("T")

_log = logging.getLogger(__name__)


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of the node's place in the cluster. New fields go to the end, as older files have fewer."""

    node_number: int = 0
    address_pools: tuple[str, ...] = ()
    data_path_port: int = 0
    hostname: str = ""

    def after(self, message: Assignments) -> _Place:
        """Return the place after a message; what that does not say stays as it was."""
        return _Place(
            message.node_number or self.node_number,
            message.address_pools or self.address_pools,
            message.data_path_port or self.data_path_port,
            message.hostname or ("" if message.complete else self.hostname),
        )


class LocalDatabase:
    """The file `path`; `load` first, `close` last. Other processes may not have it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="localdb")
        self._db: sqlite3.Connection | None = None
        self._incomplete = False
        self._refused = False

    async def load(self) -> AssignmentSet:
        """Read the last set, each task with the last state that was seen here; an unreadable file is put aside.

        Raises:
            Unavailable: the file cannot be opened, or its disk cannot be written.

        """
        found: AssignmentSet = await self._do(self._load)
        return found

    async def save(self, message: Assignments) -> None:
        """Apply an assignment message to what is stored."""
        follows = message.complete or not self._incomplete
        stored = await self._write(self._save, message if follows else _NOTHING)
        self._incomplete = not (stored and follows)

    async def save_states(self, reports: Collection[TaskReport]) -> None:
        await self._write(self._save_states, reports)

    async def close(self) -> None:
        await self._do(self._close)
        self._thread.shutdown()

    async def _write(self, work: Callable[[T], None], what: T) -> bool:
        """Store something; return whether the disk took it."""
        try:
            await self._do(work, what)
        except sqlite3.Error as error:
            if not self._refused:
                _log.error(
                    "%s cannot be written (%s): free some space there; until then tasks run on, but a restarted "
                    "worker knows them only from its manager",
                    self._path,
                    error,
                )
            self._refused = True
        else:
            self._refused = False
        return not self._refused

    async def _do(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _load(self) -> AssignmentSet:
        try:
            self._db = _open(self._path)
            return _read(self._db)
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
            if self._db is not None:
                self._db.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_ERRORS:
                full = ", as its disk is full" if _is_full(self._path.parent) else ""
                raise Unavailable(
                    f"{self._path} cannot be used{full} ({error}): check its disk, then start again"
                ) from error
            _log.warning(
                "%s cannot be read (%s): kept as %s, starting with an empty one; a manager sends its contents again",
                self._path,
                error,
                _put_aside(self._path),
            )
            self._db = _open(self._path)
            return AssignmentSet()

    def _save(self, message: Assignments) -> None:
        configs = _config_ids(self._connection)
        with self._connection as db:
            if message.complete:
                db.execute("DELETE FROM object")
            for kind, objects, removed, key in _parts(message):
                rows = [(kind, getattr(found, key), msgspec.msgpack.encode(found)) for found in objects]
                db.executemany("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", rows)
                db.executemany("DELETE FROM object WHERE kind = ? AND id = ?", [(kind, name) for name in removed])
            place = msgspec.msgpack.encode(_place(db).after(message))
            db.execute("INSERT OR REPLACE INTO object VALUES ('place', '', ?)", (place,))
            # The states of tasks that are gone go with them.
            db.execute("DELETE FROM state WHERE id NOT IN (SELECT id FROM object WHERE kind = 'task')")
        if configs - _config_ids(db):
            _erase(db)

    def _save_states(self, reports: Collection[TaskReport]) -> None:
        rows = [(report.task_id, msgspec.msgpack.encode(report.status)) for report in reports]
        with self._connection as db:
            db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", rows)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._db is not None, "load() opens it"
        return self._db


def _parts(message: Assignments) -> Iterable[tuple[str, tuple[Any, ...], tuple[str, ...], str]]:
    """List what a message says of each kind that is stored. Secrets are not: they never touch the disk."""
    objects = (message.tasks, message.configs, message.networks, message.attachments, message.endpoints, message.peers)
    removed = (
        message.removed_tasks,
        message.removed_configs,
        message.removed_networks,
        message.removed_attachments,
        message.removed_endpoints,
        message.removed_peers,
    )
    keys = (key for _, _, key in _KINDS)
    return zip((kind for kind, _, _ in _KINDS), objects, removed, keys, strict=True)


def _is_full(folder: Path) -> bool:
    """Whether there is no room for what SQLite begins with."""
    return shutil.disk_usage(folder).free < _FIRST_BYTES


def _put_aside(path: Path) -> Path:
    """Rename a file with what SQLite has beside it, which another database by that name must not take for its own."""
    aside = path.with_suffix(".unreadable")
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{ending}").replace(f"{aside}{ending}")
    return aside


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    path.chmod(0o600)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    if schema not in (0, SCHEMA_VERSION):
        raise sqlite3.DatabaseError(f"its schema has version {schema}, this release reads {SCHEMA_VERSION}")
    db.execute(
        "CREATE TABLE IF NOT EXISTS object (kind TEXT, id TEXT, data BLOB, PRIMARY KEY (kind, id)) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE IF NOT EXISTS state (id TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID")
    if not schema:  # it would be written each time, even to a disk that is full
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.isolation_level = "IMMEDIATE"


def _config_ids(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT id FROM object WHERE kind = 'config'")}


def _erase(db: sqlite3.Connection) -> None:
    """Leave nothing of what was removed in the file or its log: a config may have what only its service should see.

    `secure_delete` overwrites what is deleted where it is, but not the copies that moving rows between pages has left.
    """
    db.execute("VACUUM")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _read(db: sqlite3.Connection) -> AssignmentSet:
    found: dict[str, dict[str, Any]] = {kind: {} for kind, _, _ in _KINDS}
    types = {kind: struct for kind, struct, _ in _KINDS}
    place = _place(db)
    unknown: set[str] = set()
    for kind, name, data in db.execute("SELECT kind, id, data FROM object WHERE kind != 'place'"):
        if kind in types:
            found[kind][name] = msgspec.msgpack.decode(data, type=types[kind])
        else:
            unknown.add(str(kind))
    if unknown:
        _log.warning(
            "the worker's memory has records of kinds that release %s does not know (%s): another release has written "
            "them, and they are left out; if tasks lack something, install that release again",
            version(),
            ", ".join(sorted(unknown)),
        )
    for name, data in db.execute("SELECT id, data FROM state"):
        if name in found["task"]:
            status = msgspec.msgpack.decode(data, type=TaskStatus)
            found["task"][name] = _later(found["task"][name], status)
    return AssignmentSet(
        node_number=place.node_number,
        address_pools=place.address_pools,
        data_path_port=place.data_path_port,
        hostname=place.hostname,
        tasks=found["task"],
        configs=found["config"],
        networks=found["network"],
        attachments=found["attachment"],
        endpoints=found["endpoint"],
        peers=found["peer"],
    )


def _place(db: sqlite3.Connection) -> _Place:
    row = db.execute("SELECT data FROM object WHERE kind = 'place'").fetchone()
    return msgspec.msgpack.decode(row[0], type=_Place) if row is not None else _Place()


def _later(task: Task, status: TaskStatus) -> Task:
    """Return a task with the state last seen here, unless the manager knew of a later one."""
    return msgspec.structs.replace(task, status=status) if status.state >= task.status.state else task

"""What the store's file looks like inside: its tables, how they came to be, and an object as a row.

Objects with something secret in them are in a table of their own, `vault`. SQLite's `secure_delete` overwrites what is
deleted, but moves rows between pages, and a copy that was left behind is overwritten by chance only: of 1,000 removed
rows of some 900 bytes about 3 could still be read. So when a secret goes, that table is emptied, which overwrites all
of its pages, and filled anew. What is in it is sealed.

A task's row names its specification, which is a row of its own: all tasks that have it share it.

Of a task's record more than two thirds are its service's specification. It is stored under a digest of itself, so a
task is never given another one, and what no task names any more can go.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, get_args

import msgspec

from common.model import Cluster, Config, Node, RegistryLogin, RootKey, Secret, StoredObject, Task
from common.model.service import TaskSpec
from manager.store.backends.sealed import Seal, Unsealed
from manager.store.changes import Change

RECORDS, VAULT, SPECS = "records", "vault", "specs"

KINDS: dict[str, type[StoredObject]] = {kind.__name__.lower(): kind for kind in get_args(StoredObject)}

# The kinds with something secret in them, and what that is of an object.
_SECRETS: dict[type[StoredObject], Callable[[Any], Iterable[bytes | str]]] = {
    Cluster: lambda cluster: (cluster.join_tokens.worker, cluster.join_tokens.manager, cluster.unlock_key),
    Config: lambda config: (config.spec.data,),
    Node: lambda node: (key.private for key in node.tunnel_keys),
    RegistryLogin: lambda login: (login.auth,),
    RootKey: lambda root: (root.key,),
    Secret: lambda secret: (secret.spec.data,),
}

VACUUM = "VACUUM"
# Each entry takes the schema one version further. Never change one that has been released: append.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE objects (
        kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE position (only INTEGER PRIMARY KEY CHECK (only = 1), last_index INTEGER NOT NULL);
    INSERT INTO position VALUES (1, 0);
    """,
    """
    CREATE TABLE records (
        kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, digest INTEGER NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE vault (
        kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, digest INTEGER NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE reached (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        last_index INTEGER NOT NULL, count INTEGER NOT NULL, checksum INTEGER NOT NULL, time REAL NOT NULL
    );
    INSERT INTO records SELECT kind, id, body, row_digest(kind, id, body) FROM objects
        WHERE kind NOT IN ('cluster', 'config', 'node', 'secret');
    INSERT INTO vault SELECT kind, id, body, row_digest(kind, id, body) FROM objects
        WHERE kind IN ('cluster', 'config', 'node', 'secret');
    INSERT INTO reached SELECT 1, last_index, 0, 0, strftime('%s', 'now') FROM position;
    UPDATE reached SET (count, checksum) = (
        SELECT count(*), coalesce(wrapped_sum(digest), 0)
        FROM (SELECT digest FROM records UNION ALL SELECT digest FROM vault)
    );
    DROP TABLE objects;
    DROP TABLE position;
    """,
    # What was freed before rows were overwritten may still be read.
    VACUUM,
    # Another index, as the note beside the file has the checksum of the index before.
    """
    UPDATE vault SET body = sealed(kind, id, body);
    UPDATE vault SET digest = row_digest(kind, id, body);
    UPDATE reached SET last_index = last_index + (last_index > 0), checksum = (
        SELECT coalesce(wrapped_sum(digest), 0)
        FROM (SELECT digest FROM records UNION ALL SELECT digest FROM vault)
    );
    """,
    # What was there before it was sealed may still be read.
    VACUUM,
    """
    CREATE TABLE specs (
        kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, digest INTEGER NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    INSERT OR IGNORE INTO specs SELECT 'spec', spec_id(body), spec_body(body), 0 FROM records WHERE kind = 'task';
    UPDATE specs SET digest = row_digest(kind, id, body);
    UPDATE records SET body = referring(body) WHERE kind = 'task';
    UPDATE records SET digest = row_digest(kind, id, body) WHERE kind = 'task';
    UPDATE reached SET last_index = last_index + (last_index > 0), (count, checksum) = (
        SELECT count(*), coalesce(wrapped_sum(digest), 0)
        FROM (SELECT digest FROM records UNION ALL SELECT digest FROM vault UNION ALL SELECT digest FROM specs)
    );
    """,
    # Tasks take a third of the room that they took.
    VACUUM,
)
# The first schemas that have digests, whose vault is sealed, and whose tasks name their specifications.
_DIGESTS_SINCE = 2
_SEALED_SINCE = 4
_SPECS_SINCE = 6


@dataclass(frozen=True, slots=True)
class Schema:
    """How a file of one version is read: the tables that objects are in, and what to select.

    `row` are the columns of an object, with NULL where it has no digest; `position` asks for those of a `Position`.
    """

    version: int
    tables: tuple[str, ...]
    row: str
    position: str

    @property
    def has_digests(self) -> bool:
        return self.version >= _DIGESTS_SINCE

    @property
    def is_sealed(self) -> bool:
        return self.version >= _SEALED_SINCE

    @property
    def has_specs(self) -> bool:
        return self.version >= _SPECS_SINCE


def schema_of(version: int) -> Schema:
    """Return how a file of this version is read; 0 and what is unknown have no tables."""
    if not 0 < version <= len(MIGRATIONS):
        return Schema(version, (), "", "")
    if version < _DIGESTS_SINCE:
        return Schema(version, ("objects",), "kind, id, body, NULL", "SELECT last_index, 0, 0, 0.0 FROM position")
    position = "SELECT last_index, count, checksum, time FROM reached"
    tables = (SPECS, RECORDS, VAULT) if version >= _SPECS_SINCE else (RECORDS, VAULT)  # specifications are read first
    return Schema(version, tables, "kind, id, body, digest", position)


def migrate(database: sqlite3.Connection, seal: Seal, to: int = len(MIGRATIONS)) -> None:
    """Bring the schema to a version, this program's own by default, each step whole or not at all."""
    database.create_function("row_digest", 3, row_digest, deterministic=True)
    database.create_function("sealed", 3, lambda kind, object_id, body: seal.seal(path_of(kind, object_id), body))
    database.create_function("spec_id", 1, lambda body: refer_body(body).spec_id)
    database.create_function("spec_body", 1, lambda body: refer_body(body).spec)
    database.create_function("referring", 1, lambda body: refer_body(body).body)
    database.create_aggregate("wrapped_sum", 1, _WrappedSum)
    (schema,) = database.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(MIGRATIONS[schema:to], start=schema + 1):
        if script == VACUUM:  # in no transaction; once more if it is interrupted here
            database.execute(script)
            script = ""  # noqa: PLW2901
        database.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def definitions(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return what a file says of its own tables."""
    return database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


@functools.cache
def expected_definitions(version: int) -> list[tuple[str, str]]:
    """Return what a file of this version must say of its tables."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database, Unsealed(), version)
        return definitions(database)


def kind_of(value: StoredObject) -> str:
    """Return what an object's kind is called in the file."""
    return type(value).__name__.lower()


def table_of(kind: str) -> str:
    """Return the table that a kind's objects are in."""
    return VAULT if KINDS.get(kind) in _SECRETS else RECORDS


def path_of(kind: str, object_id: str) -> str:
    """Return what an object of the vault is sealed for."""
    return f"{kind}/{object_id}"


def forgets_secrets(change: Change) -> bool:
    """Whether this change removes something secret from an object."""
    return bool(_secrets(change.old) - _secrets(change.new))


def _secrets(value: StoredObject | None) -> frozenset[bytes | str]:
    return frozenset(_SECRETS[type(value)](value)) if value is not None and type(value) in _SECRETS else frozenset()


def row_digest(kind: str, object_id: str, body: bytes) -> int:
    """Return a row's digest as SQLite can store it: a signed number of 64 bits."""
    digest = blake2b(f"{kind}\0{object_id}\0".encode(), digest_size=8)
    digest.update(body)
    return int.from_bytes(digest.digest(), signed=True)


def wrap_sum(number: int) -> int:
    """Bring a sum of digests back into 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class _WrappedSum:
    def __init__(self) -> None:
        self._sum = 0

    def step(self, digest: int) -> None:
        self._sum += digest

    def finalize(self) -> int:
        return wrap_sum(self._sum)


# What a specification's row is called in the file.
KIND = "spec"
_ID_BYTES = 16
_NO_SPEC = TaskSpec()
_TASKS = msgspec.msgpack.Decoder(Task)
_SPECS = msgspec.msgpack.Decoder(TaskSpec)


class Referring(NamedTuple):
    """A task as a row: its specification's id (hexadecimal) and encoding, and the body that names that."""

    spec_id: str
    spec: bytes
    body: bytes


class Referrer:
    """Makes rows of the tasks of one commit. Equal tasks make equal rows."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._known: dict[int, tuple[TaskSpec, bytes, bytes]] = {}

    def refer(self, task: Task) -> Referring:
        spec, encoded, digest = self._known.get(id(task.spec)) or self._digested(task.spec)
        self._known[id(spec)] = spec, encoded, digest
        body = digest + self._encode(msgspec.structs.replace(task, spec=_NO_SPEC))
        return Referring(digest.hex(), encoded, body)

    def _digested(self, spec: TaskSpec) -> tuple[TaskSpec, bytes, bytes]:
        encoded = self._encode(spec)
        return spec, encoded, blake2b(encoded, digest_size=_ID_BYTES).digest()


def refer_body(body: bytes) -> Referring:
    """Make the row of a task that was stored with its specification in it.

    Raises:
        MsgspecError: it is not one.

    """
    return Referrer().refer(_TASKS.decode(body))


def read_spec(body: bytes) -> TaskSpec:
    """Read a specification's row.

    Raises:
        MsgspecError: it is not one.

    """
    return _SPECS.decode(body)


def named_spec(body: bytes) -> str:
    """Return the id of the specification that a task's row names."""
    return body[:_ID_BYTES].hex()


def read_task(body: bytes, spec: TaskSpec) -> Task:
    """Read a task's row, which names this specification.

    Raises:
        MsgspecError: it is not one.

    """
    return msgspec.structs.replace(_TASKS.decode(memoryview(body)[_ID_BYTES:]), spec=spec)

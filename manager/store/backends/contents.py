"""Reads a store's file without changing it, and checks whether it is complete.

A read-only connection can neither checkpoint a write-ahead log nor remove it, so what a damaged log still holds stays.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from common.clock import to_the_second
from common.errors import Unavailable
from common.model import Cluster, RootKey, StoredObject
from common.model.service import TaskSpec
from common.process.memory import without_collecting
from common.version import version
from manager.store.backends.confirmed import Position, read_confirmed
from manager.store.backends.failures import WHAT_IS_LEFT, Damaged
from manager.store.backends.schema import KIND as SPEC
from manager.store.backends.schema import (
    KINDS,
    MIGRATIONS,
    VAULT,
    Schema,
    definitions,
    expected_definitions,
    named_spec,
    path_of,
    read_spec,
    read_task,
    row_digest,
    schema_of,
    table_of,
    wrap_sum,
)
from manager.store.backends.sealed import NotOpened, Seal

T = TypeVar("T")

# Errors of the file's environment, not of its content.
_ENVIRONMENT_ERRORS = (
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)
_NAMED = 3
_NOTHING = schema_of(0)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds.

    `schema` has version 0 for a file in which nothing was ever written. `position` is where the store says that it is;
    `confirmed` what was noted beside it, None without such a note. `checksum` is that of the objects that were found.
    `unreadable` has kind and id of the objects that are damaged, as far as these can be read; `faults` says what else
    is wrong with the file. `unopened` counts the sealed objects of a store that was read without its keys.
    `specs` are the ids of the tasks' specifications, `unnamed_specs` of those that no task names.
    """

    schema: Schema = _NOTHING
    position: Position = field(default_factory=Position)
    confirmed: Position | None = None
    objects: tuple[StoredObject, ...] = ()
    checksum: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    faults: tuple[str, ...] = ()
    unopened: int = 0
    specs: frozenset[str] = frozenset()
    unnamed_specs: frozenset[str] = frozenset()

    @property
    def found(self) -> int:
        """How many rows exist and are not damaged."""
        return len(self.objects) + len(self.specs) + self.unopened

    @property
    def cluster(self) -> Cluster | None:
        return next((each for each in self.objects if isinstance(each, Cluster)), None)

    @property
    def root_key(self) -> RootKey | None:
        return next((each for each in self.objects if isinstance(each, RootKey)), None)

    @property
    def missing_changes(self) -> int:
        """How many changes were confirmed after the last one in the store."""
        return max(0, self.confirmed.index - self.position.index) if self.confirmed is not None else 0

    @property
    def consistent(self) -> bool:
        """Whether the objects are exactly those of one instant, which need not be the last."""
        same = (self.found, self.checksum) == (self.position.count, self.position.checksum)
        return not self.faults and not self.unreadable and (same or not self.schema.has_digests)

    def check(self, path: Path) -> None:
        """Refuse a damaged store; `path` is for the error.

        Raises:
            Damaged: the message names everything that is wrong.

        """
        if damage := self.damage():
            raise Damaged(f"the store {path} is damaged: {'; '.join(damage)}: {WHAT_IS_LEFT}; nothing was changed")

    def damage(self) -> tuple[str, ...]:
        """Return a sentence for everything that is wrong; empty for a complete store."""
        return (*self.faults, *self._unreadable_objects(), *self._differences())

    def _unreadable_objects(self) -> Iterator[str]:
        if self.unreadable:
            named = [f"{kind} {object_id}" for kind, object_id in self.unreadable[:_NAMED]]
            more = ", …" if len(self.unreadable) > _NAMED else ""
            yield f"{format_count(len(self.unreadable), 'object')} cannot be read ({', '.join(named)}{more})"

    def _differences(self) -> Iterator[str]:
        if self.faults:
            return
        last, confirmed = self.position, self.confirmed
        if self.missing_changes and confirmed is not None:
            yield (
                f"{format_count(self.missing_changes, 'change')} of the time from {to_the_second(last.time)} to "
                f"{to_the_second(confirmed.time)} are missing: version {confirmed.index} was confirmed, "
                f"{last.index} is there"
            )
        if self.unreadable or not self.schema.has_digests:
            return
        if self.found != last.count:
            yield f"of {format_count(last.count, 'object')} only {self.found} can be found"
        elif not self.consistent:
            yield f"the objects are not all those of version {last.index}"
        elif confirmed is not None and confirmed.index == last.index and confirmed.checksum != last.checksum:
            yield f"the objects are not those that were confirmed as version {last.index}"


def format_count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def read(path: Path, seal: Seal | None, *, log: bool = True) -> Contents:
    """Read all of the store at `path`; without `log` only what a checkpoint has brought into the file itself.

    Nobody may write to it meanwhile. Without a `seal` the objects that are sealed are only counted.

    Raises:
        Unavailable: a newer release wrote it, or it was sealed with other keys.
        sqlite3.Error: it cannot be read, for a reason that is not in the file.
        OSError: likewise.

    """
    confirmed = read_confirmed(path)
    # SQLite would take an empty file for a new database, and remove the log beside it.
    if not path.exists() or not path.stat().st_size:
        what = "is empty" if path.exists() else "is missing"
        return Contents(confirmed=confirmed, faults=(f"the file {what}",))
    mode = "mode=ro" if log else "mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as database:
        database.text_factory = lambda text: text.decode(errors="replace")
        reader = _Reader(database, path, seal)
        with without_collecting():
            reader.read()
    return Contents(
        schema=reader.schema,
        position=reader.position,
        confirmed=confirmed,
        objects=tuple(reader.objects.values()),
        checksum=wrap_sum(reader.checksum),
        unreadable=tuple(reader.unreadable),
        faults=tuple(reader.faults),
        unopened=reader.unopened,
        specs=frozenset(reader.specs),
        unnamed_specs=frozenset(reader.specs.keys() - reader.named_specs),
    )


def read_best(path: Path, seal: Seal) -> Contents:
    """Read a store as `read` does; if it is damaged, without its log too, and return what is worth more.

    A log that is damaged early in its course hides what later parts of it had already brought into the file.
    """
    found = read(path, seal)
    if not found.damage():
        return found
    return max(found, read(path, seal, log=False), key=_value)


def _value(contents: Contents) -> tuple[bool, int, int]:
    return contents.consistent, contents.position.index if contents.consistent else 0, len(contents.objects)


class _Reader:
    """Reads as much as possible, and notes what is wrong."""

    def __init__(self, database: sqlite3.Connection, path: Path, seal: Seal | None) -> None:
        self._database = database
        self._path = path
        self._seal = seal
        self._decoders = {name: msgspec.msgpack.Decoder(kind) for name, kind in KINDS.items()}
        self.schema = _NOTHING
        self.position = Position()
        self.objects: dict[tuple[str, str], StoredObject] = {}
        self.checksum = 0
        self.unreadable: dict[tuple[str, str], None] = {}
        self.faults: list[str] = []
        self.unopened = 0
        self.specs: dict[str, TaskSpec] = {}
        self.named_specs: set[str] = set()
        self._seen: set[tuple[str, str]] = set()

    def read(self) -> None:
        with self._noting_faults():
            (number,) = self._database.execute("PRAGMA user_version").fetchone()
            if number > len(MIGRATIONS):
                raise Unavailable(
                    f"the store {self._path} has schema {number}, release {version()} knows {len(MIGRATIONS)}: "
                    "install a newer one; if no newer release ever ran here, the file is damaged: restore a backup"
                )
            self.schema = schema_of(number)
            self._check_file()
            self._read_position()
        for table in self.schema.tables:
            self._read_table(table)

    def _check_file(self) -> None:
        """Check the file as a SQLite database, and its tables."""
        if not self.schema.tables:
            self._note("there is nothing in it")
            return
        if definitions(self._database) != expected_definitions(self.schema.version):
            self._note("its tables are not the expected ones")
        (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            self._note(verdict.splitlines()[-1])

    def _read_position(self) -> None:
        if self.schema.position:
            row = self._database.execute(self.schema.position).fetchone()
            try:
                self.position = msgspec.convert(row, Position)
            except msgspec.ValidationError:
                self._note("it does not say how far it got")

    def _read_table(self, table: str) -> None:
        query = f"SELECT {self.schema.row} FROM {table}"  # noqa: S608 - ours
        faults = len(self.faults)
        with self._noting_faults():
            for row in self._database.execute(query):
                self._take(*row)
        if len(self.faults) > faults:
            # There may be more beyond the damaged page, which can be read from the other end.
            with self._noting_faults():
                for row in self._database.execute(f"{query} ORDER BY kind DESC, id DESC"):
                    self._take(*row)

    def _take(self, kind: Any, object_id: Any, body: Any, digest: Any) -> None:
        key = (str(kind), str(object_id))
        if key in self._seen:
            return
        if not isinstance(body, bytes) or (self.schema.has_digests and digest != row_digest(*key, body)):
            self.unreadable[key] = None
            return
        self._seen.add(key)
        self.checksum += digest if self.schema.has_digests else 0
        if self.schema.is_sealed and table_of(key[0]) == VAULT:
            if self._seal is None:
                self.unopened += 1
                return
            body = self._unseal(self._seal, *key, body)
        if key[0] == SPEC and self.schema.has_specs:
            self.specs[key[1]] = self._read(*key, lambda: read_spec(body))
        elif key[0] == "task" and self.schema.has_specs:
            self._take_task(key, body)
        else:
            self.objects[key] = self._decode(*key, body)

    def _take_task(self, key: tuple[str, str], body: bytes) -> None:
        """Add a task's row; without its specification it counts as damaged."""
        spec_id = named_spec(body)
        self.named_specs.add(spec_id)
        spec = self.specs.get(spec_id)
        if spec is None:
            self.unreadable[key] = None
        else:
            self.objects[key] = self._read(*key, lambda: read_task(body, spec))

    def _unseal(self, seal: Seal, kind: str, object_id: str, body: bytes) -> bytes:
        """Open one sealed object, of which the digest is right.

        Raises:
            Unavailable: it was sealed with another key, or for another object. None is left out, as with `_decode`.

        """
        try:
            return seal.open(path_of(kind, object_id), body)
        except NotOpened as error:
            raise Unavailable(
                f"the store {self._path} cannot be opened with its key: {error.message}: put back the 'store.key' that "
                "belongs to this store, or restore a backup"
            ) from error

    def _decode(self, kind: str, object_id: str, body: bytes) -> StoredObject:
        """Decode one object, of which the digest is right.

        Raises:
            Unavailable: this release does not know it. None is left out: the cluster would forget it, and who uses it
                would not.

        """
        decoder = self._decoders.get(kind)
        if decoder is None:
            raise Unavailable(
                f"the store {self._path} has objects of kind {kind!r}, which release {version()} does not know: "
                "it was written by a newer release: install that one"
            )
        return self._read(kind, object_id, lambda: decoder.decode(body))

    def _read(self, kind: str, object_id: str, decode: Callable[[], T]) -> T:
        try:
            return decode()
        except msgspec.MsgspecError as error:
            raise Unavailable(
                f"the store {self._path} has a {kind} {object_id!r} that release {version()} cannot read ({error}): "
                "install the release that has written it; if it is that one, restore the file from a backup"
            ) from error

    @contextlib.contextmanager
    def _noting_faults(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError:  # SQLite quotes what it found
            self._note("its description of the tables cannot be read")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _ENVIRONMENT_ERRORS:
                raise
            self._note(str(error))

    def _note(self, fault: str) -> None:
        if fault not in self.faults:
            self.faults.append(fault)

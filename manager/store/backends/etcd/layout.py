"""What is where in etcd: the leader's record, the position that every commit rewrites, the level, and the objects.

While a commit takes long its leader rewrites `alive`, which says only that it lives.

Every value is sealed, with its key as the path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from common.errors import Unavailable
from common.model import Cluster, StoredObject, Task
from common.version import version
from manager.store.backend import Epoch, LeaderRecord, Removal
from manager.store.backends.etcd.api import Delete, KeyValue, Put, end_of
from manager.store.backends.etcd.task_rows import TaskRows, Written
from manager.store.backends.schema import KINDS, kind_of
from manager.store.backends.sealed import Seal
from manager.store.changes import ChangeSet
from manager.store.levels import NEWEST_LEVEL, OLDEST_LEVEL, check_level

_TASK = "task"


class Position(msgspec.Struct, frozen=True, array_like=True):
    """How far the store has come: the index of the last change, under which leader, and by which commit.

    `nonce` is a commit's own, so that who has sent it finds out whether it was stored. `by` is who asked for all of its
    changes, empty where they were several.
    """

    index: int
    epoch: Epoch
    nonce: bytes
    by: str = ""


class Format(msgspec.Struct, frozen=True, array_like=True):
    """What a manager must know before it reads anything else."""

    level: int = OLDEST_LEVEL


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit does, and what is known when it was stored: the level, and the rows of tasks."""

    operations: Sequence[Put | Delete]
    level: int
    tasks: Written


class Layout:
    """The keys of one cluster, and what is at them. `newest` is the newest level that this manager knows.

    It remembers what it reads and what it is told was stored, as a commit depends on what is there. `level` is the
    store's.
    """

    def __init__(self, cluster_id: str, seal: Seal, newest: int = NEWEST_LEVEL) -> None:
        self.level = OLDEST_LEVEL
        self._newest = newest
        self._tasks = TaskRows()
        self.prefix = f"/swarm/{cluster_id}/".encode()
        self.format = self.prefix + b"format"
        self.leader = self.prefix + b"leader"
        self.position = self.prefix + b"position"
        self.alive = self.prefix + b"alive"
        self._objects = self.prefix + b"o/"
        self._specs = self.prefix + b"s/"
        self._seal = seal
        self._encoder = msgspec.msgpack.Encoder()
        self._decoders = {name: msgspec.msgpack.Decoder(kind) for name, kind in KINDS.items()}
        self._leaders = msgspec.msgpack.Decoder(LeaderRecord)
        self._positions = msgspec.msgpack.Decoder(Position)
        self._formats = msgspec.msgpack.Decoder(Format)

    def put_leader(self, record: LeaderRecord) -> Put:
        return self._put(self.leader, record)

    def put_position(self, position: Position) -> Put:
        return self._put(self.position, position)

    def put_alive(self, epoch: Epoch) -> Put:
        return self._put(self.alive, epoch)

    def read_leader(self, value: bytes) -> LeaderRecord:
        return self._leaders.decode(self._open(self.leader, value))

    def read_position(self, value: bytes) -> Position:
        return self._positions.decode(self._open(self.position, value))

    def commit(self, change_sets: Sequence[ChangeSet], room: int) -> Commit:
        """Return what stores the last word on each object, in the order in which they were first changed.

        At most `room` operations are added that bring rows of before to the present level.
        """
        last: dict[tuple[str, str], StoredObject | None] = {}
        for change in (change for change_set in change_sets for change in change_set.changes):
            last[kind_of(change.current), change.current.id] = change.new
        tasks = {each.id: each for each in last.values() if isinstance(each, Task)}
        gone = {object_id for (kind, object_id), value in last.items() if kind == _TASK and value is None}
        written = self._tasks.write(tasks, gone, self.level, room)
        level = max(self.level, *(each.store_level for each in last.values() if isinstance(each, Cluster)), 0)
        operations: list[Put | Delete] = [self._put(self.format, Format(level))] if level > self.level else []
        operations += (self._put_encoded(self._spec_key(each), value) for each, value in written.specs.items())
        for (kind, object_id), value in last.items():
            if value is None:
                operations.append(Delete(self._key(kind, object_id)))
            elif kind != _TASK:
                operations.append(self._put(self._key(kind, object_id), value))
        operations += (self._put_encoded(self._key(_TASK, each), value) for each, value in written.tasks.items())
        operations += (Delete(self._spec_key(each)) for each in written.removed)
        return Commit(operations, level, written)

    def stored(self, commit: Commit) -> None:
        """Hear that a commit is stored, of which nothing is read."""
        self.level = commit.level
        self._tasks.stored(commit.tasks)

    def changes(self, operations: Sequence[Put | Delete]) -> tuple[StoredObject | Removal, ...]:
        """Read what a revision has done to objects; keys of other things are left out.

        Raises:
            UnknownLevel: this release is too old for what follows.
            Unavailable: something cannot be read.

        """
        changed = {each.key: each for each in operations}
        if isinstance(told := changed.get(self.format), Put):
            self.read_format(told.value)
        for key, each in changed.items():
            if key.startswith(self._specs):
                self._change_spec(each)
        return tuple(self._change(each) for key, each in changed.items() if key.startswith(self._objects))

    def ranges(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the ranges that hold all keys, in the order in which `Loading` is to have them.

        How all is written comes first, then the specifications that tasks name.
        """
        behind_specs = end_of(self._specs)
        return (
            (self.prefix, self._objects),
            (self._specs, behind_specs),
            (self._objects, self._specs),
            (behind_specs, end_of(self.prefix)),
        )

    def size(self, change_set: ChangeSet) -> int:
        """Return about how many bytes a change set is stored in, at most."""
        return sum(len(self._encoder.encode(each.new)) for each in change_set.changes if each.new is not None)

    def read_format(self, value: bytes) -> None:
        """Read the level; errors as `changes`."""
        level = self._formats.decode(self._open(self.format, value)).level
        check_level(level, self._newest)
        self.level = level

    def read_page(self, found: Sequence[KeyValue], tasks: TaskRows) -> Iterator[StoredObject]:
        """Yield the objects of some keys, and have `tasks` know their rows; errors as `changes`."""
        for each in found:
            if each.key.startswith(self._objects):
                yield self._object(each.key, each.value, tasks)
            elif each.key.startswith(self._specs):
                self._put_spec(each.key, each.value, tasks)

    def loaded(self, tasks: TaskRows) -> None:
        """Know these rows of tasks, and no others."""
        self._tasks = tasks

    def _change_spec(self, operation: Put | Delete) -> None:
        if isinstance(operation, Put):
            self._put_spec(operation.key, operation.value, self._tasks)
        else:
            self._tasks.remove_spec(self._spec_id(operation.key))

    def _put_spec(self, key: bytes, value: bytes, tasks: TaskRows) -> None:
        plain = self._open(key, value)
        try:
            tasks.put_spec(self._spec_id(key), plain)
        except msgspec.MsgspecError as error:
            raise _unreadable(key, error) from error

    def _change(self, operation: Put | Delete) -> StoredObject | Removal:
        if isinstance(operation, Put):
            return self._object(operation.key, operation.value, self._tasks)
        kind, object_id = self._parts(operation.key)
        if kind == _TASK:
            self._tasks.remove(object_id)
        return Removal(KINDS[kind], object_id)

    def _object(self, key: bytes, value: bytes, tasks: TaskRows) -> StoredObject:
        kind, object_id = self._parts(key)
        plain = self._open(key, value)
        try:
            return tasks.put(object_id, plain) if kind == _TASK else self._decoders[kind].decode(plain)
        except msgspec.MsgspecError as error:
            raise _unreadable(key, error) from error

    def _parts(self, key: bytes) -> tuple[str, str]:
        kind, _, object_id = key[len(self._objects) :].decode().partition("/")
        if kind not in KINDS:
            raise Unavailable(
                f"etcd has objects of kind {kind!r}, which release {version()} does not know: a newer release has "
                "written them: install that one"
            )
        return kind, object_id

    def _key(self, kind: str, object_id: str) -> bytes:
        return self._objects + f"{kind}/{object_id}".encode()

    def _spec_key(self, spec_id: str) -> bytes:
        return self._specs + spec_id.encode()

    def _spec_id(self, key: bytes) -> str:
        return key[len(self._specs) :].decode()

    def _put(self, key: bytes, value: msgspec.Struct) -> Put:
        return self._put_encoded(key, self._encoder.encode(value))

    def _put_encoded(self, key: bytes, value: bytes) -> Put:
        return Put(key, self._seal.seal(key.decode(), value))

    def _open(self, key: bytes, value: bytes) -> bytes:
        return self._seal.open(key.decode(), value)


class Loading:
    """All that there is, while it is read in the order of `Layout.ranges`. The layout knows of it from `end` on.

    `objects` are those of what was taken; `leader` and `position` the keys of that name, None before, or without one.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._tasks = TaskRows()
        self.objects: list[StoredObject] = []
        self.leader: KeyValue | None = None
        self.position: KeyValue | None = None

    def take(self, found: Sequence[KeyValue]) -> None:
        """Take what was read next; errors as `Layout.changes`."""
        layout = self._layout
        for each in found:
            if each.key == layout.format:
                layout.read_format(each.value)
            elif each.key == layout.leader:
                self.leader = each
            elif each.key == layout.position:
                self.position = each
        self.objects.extend(layout.read_page(found, self._tasks))

    def end(self) -> None:
        """Have the layout know that this is all."""
        self._layout.loaded(self._tasks)


def _unreadable(key: bytes, error: msgspec.MsgspecError) -> Unavailable:
    return Unavailable(
        f"etcd has {key.decode()!r}, which release {version()} cannot read ({error}): install the release that has "
        "written it"
    )

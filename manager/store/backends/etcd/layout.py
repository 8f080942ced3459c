"""What is where in etcd: the leader's record, the position that every commit rewrites, and the objects.

Every value is sealed, with its key as the path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from common.errors import Unavailable
from common.model import StoredObject
from common.version import version
from manager.store.backend import Epoch, LeaderRecord, Removal
from manager.store.backends.etcd.api import Delete, KeyValue, Put
from manager.store.backends.schema import KINDS, kind_of
from manager.store.backends.sealed import Seal
from manager.store.changes import ChangeSet


class Position(msgspec.Struct, frozen=True, array_like=True):
    """How far the store has come: the index of the last change, under which leader, and by which commit.

    `nonce` is a commit's own, so that who has sent it finds out whether it was stored. `by` is who asked for all of its
    changes, empty where they were several.
    """

    index: int
    epoch: Epoch
    nonce: bytes
    by: str = ""


class Layout:
    """The keys of one cluster, and what is at them."""

    def __init__(self, cluster_id: str, seal: Seal) -> None:
        self.prefix = f"/swarm/{cluster_id}/".encode()
        self.leader = self.prefix + b"leader"
        self.position = self.prefix + b"position"
        self._objects = self.prefix + b"o/"
        self._seal = seal
        self._encoder = msgspec.msgpack.Encoder()
        self._decoders = {name: msgspec.msgpack.Decoder(kind) for name, kind in KINDS.items()}
        self._leaders = msgspec.msgpack.Decoder(LeaderRecord)
        self._positions = msgspec.msgpack.Decoder(Position)

    def put_leader(self, record: LeaderRecord) -> Put:
        return self._put(self.leader, record)

    def put_position(self, position: Position) -> Put:
        return self._put(self.position, position)

    def read_leader(self, value: bytes) -> LeaderRecord:
        return self._leaders.decode(self._open(self.leader, value))

    def read_position(self, value: bytes) -> Position:
        return self._positions.decode(self._open(self.position, value))

    def operations(self, change_sets: Sequence[ChangeSet]) -> list[Put | Delete]:
        """Return the last word on each object, in the order in which they were first changed."""
        last: dict[bytes, StoredObject | None] = {}
        for change in (change for change_set in change_sets for change in change_set.changes):
            last[self._key(kind_of(change.current), change.current.id)] = change.new
        return [Delete(key) if value is None else self._put(key, value) for key, value in last.items()]

    def changes(self, operations: Iterable[Put | Delete]) -> tuple[StoredObject | Removal, ...]:
        """Return what operations do to objects; keys of other things are left out."""
        return tuple(self._change(each) for each in operations if each.key.startswith(self._objects))

    def objects(self, found: Iterable[KeyValue]) -> list[StoredObject]:
        """Return the objects among what was read."""
        return [self._object(each.key, each.value) for each in found if each.key.startswith(self._objects)]

    def size(self, change_set: ChangeSet) -> int:
        """Return about how many bytes a change set is stored in."""
        return sum(len(self._encoder.encode(each.new)) for each in change_set.changes if each.new is not None)

    def _change(self, operation: Put | Delete) -> StoredObject | Removal:
        if isinstance(operation, Put):
            return self._object(operation.key, operation.value)
        kind, object_id = self._parts(operation.key)
        return Removal(KINDS[kind], object_id)

    def _object(self, key: bytes, value: bytes) -> StoredObject:
        kind, _ = self._parts(key)
        plain = self._open(key, value)
        try:
            return self._decoders[kind].decode(plain)
        except msgspec.MsgspecError as error:
            raise Unavailable(
                f"etcd has {key.decode()!r}, which release {version()} cannot read ({error}): install the release that "
                "has written it"
            ) from error

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

    def _put(self, key: bytes, value: msgspec.Struct) -> Put:
        return Put(key, self._seal.seal(key.decode(), self._encoder.encode(value)))

    def _open(self, key: bytes, value: bytes) -> bytes:
        return self._seal.open(key.decode(), value)

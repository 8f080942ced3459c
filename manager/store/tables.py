"""One consistent state in memory: a table for each kind of object, its indexes, and layers of changes on top."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from common.errors import Unavailable
from common.ids import SHORT_ID
from common.model import (
    ClientCertificate,
    Cluster,
    Config,
    DashboardToken,
    ImageName,
    Network,
    NetworkAttachment,
    Node,
    RegistryLogin,
    RootKey,
    Secret,
    Service,
    StoredObject,
    Task,
    Transfer,
    Volume,
    VolumeClaim,
)
from common.net.addressing import fold
from common.spec.autoscale import LABEL as AUTOSCALE_LABEL
from common.spec.extensions import names_depended_on
from manager.store.view import (
    AttachmentTableView,
    ImageNameTableView,
    NamedTableView,
    NodeTableView,
    ServiceTableView,
    TableView,
    TaskTableView,
    VolumeClaimTableView,
    VolumeTableView,
)

T = TypeVar("T", bound=StoredObject)
KeyOf: TypeAlias = Callable[[T], Hashable]
KeysOf: TypeAlias = Callable[[T], Collection[Hashable]]


class _Queries(Generic[T]):
    """Queries by index, for tables and overlays alike; the protocols in `view` say which kind has which."""

    def select(self, index: str, key: Hashable) -> Collection[T]:
        """Return the objects whose key in `index` is `key`; valid until the table next changes."""
        raise NotImplementedError

    def named(self, name: str) -> Collection[T]:
        return self.select("name", name)

    def called(self, folded: str) -> Collection[T]:
        return self.select("called", folded)

    def waiting(self) -> Collection[T]:
        return self.select("waiting", True)

    def autoscaled(self) -> Collection[T]:
        return self.select("autoscaled", True)

    def publishing(self, protocol: str, number: int) -> Collection[T]:
        return self.select("port", (protocol, number))

    def depending_on(self, name: str) -> Collection[T]:
        return self.select("dependency", name)

    def of_image(self, image_id: str) -> Collection[T]:
        return self.select("image", image_id)

    def of_service(self, service_id: str) -> Collection[T]:
        return self.select("service", service_id)

    def on_node(self, node_id: str) -> Collection[T]:
        return self.select("node", node_id)

    def of_container(self, full_id: str) -> Collection[T]:
        return self.select("container", full_id[:SHORT_ID])

    def in_slot(self, service_id: str, slot: int, node_id: str = "") -> Collection[T]:
        return self.select("slot", (service_id, slot or node_id))


class Table(_Queries[T]):
    """Objects by id, and by each index's key. Replacing an object keeps its place in the order.

    In the indexes of `several` an object may have any number of keys.
    """

    def __init__(self, indexes: Mapping[str, KeyOf[T]], several: Mapping[str, KeysOf[T]]) -> None:
        self._objects: dict[str, T] = {}
        self._key_of = dict(indexes)
        self._keys_of = dict(several)
        self._buckets: dict[str, dict[Hashable, dict[str, T]]] = {name: {} for name in (*indexes, *several)}

    def get(self, object_id: str) -> T | None:
        return self._objects.get(object_id)

    def __iter__(self) -> Iterator[T]:
        return iter(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._objects

    def select(self, index: str, key: Hashable) -> Collection[T]:
        bucket = self._buckets[index].get(key)
        return bucket.values() if bucket else ()

    def put(self, value: T) -> None:
        old = self._objects.get(value.id)
        self._objects[value.id] = value
        for index, key_of in self._key_of.items():
            key = key_of(value)
            if old is not None and (old_key := key_of(old)) != key:
                self._drop(index, old_key, value.id)
            self._buckets[index].setdefault(key, {})[value.id] = value
        for index, keys_of in self._keys_of.items():
            keys = keys_of(value)
            for gone in () if old is None else {*keys_of(old)}.difference(keys):
                self._drop(index, gone, value.id)
            for key in keys:
                self._buckets[index].setdefault(key, {})[value.id] = value

    def discard(self, object_id: str) -> None:
        old = self._objects.pop(object_id, None)
        if old is not None:
            for index, key_of in self._key_of.items():
                self._drop(index, key_of(old), object_id)
            for index, keys_of in self._keys_of.items():
                for key in {*keys_of(old)}:
                    self._drop(index, key, object_id)

    def _drop(self, index: str, key: Hashable, object_id: str) -> None:
        bucket = self._buckets[index][key]
        del bucket[object_id]
        if not bucket:
            del self._buckets[index][key]


class Overlay(_Queries[T]):
    """A table with uncommitted changes on top. Overlays stack: `base` is a table or another overlay."""

    def __init__(
        self, base: Table[T] | Overlay[T], indexes: Mapping[str, KeyOf[T]], several: Mapping[str, KeysOf[T]]
    ) -> None:
        self._base = base
        self._changed: Table[T] = Table(indexes, several)
        self._removed: set[str] = set()

    def get(self, object_id: str) -> T | None:
        if object_id in self._removed:
            return None
        return self._changed.get(object_id) or self._base.get(object_id)

    def __iter__(self) -> Iterator[T]:
        if not self._changed and not self._removed:
            yield from self._base
            return
        for value in self._base:
            if value.id not in self._removed:
                yield self._changed.get(value.id) or value
        yield from (value for value in self._changed if value.id not in self._base)

    def __len__(self) -> int:
        created = sum(1 for value in self._changed if value.id not in self._base)
        return len(self._base) + created - len(self._removed)

    def __contains__(self, object_id: object) -> bool:
        return object_id not in self._removed and (object_id in self._changed or object_id in self._base)

    def select(self, index: str, key: Hashable) -> Collection[T]:
        below = self._base.select(index, key)
        if not self._changed and not self._removed:
            return below
        kept = [v for v in below if v.id not in self._changed and v.id not in self._removed]
        kept.extend(self._changed.select(index, key))
        return kept

    def put(self, value: T) -> None:
        self._removed.discard(value.id)
        self._changed.put(value)

    def discard(self, object_id: str) -> None:
        self._changed.discard(object_id)
        if object_id in self._base:
            self._removed.add(object_id)

    def merge(self) -> None:
        """Move the changes into the base."""
        for object_id in self._removed:
            self._base.discard(object_id)
        for value in self._changed:
            self._base.put(value)


def _name_of(value: StoredObject) -> str:
    return value.name


_BY_NAME: Mapping[str, KeyOf[Any]] = {"name": _name_of}
_INDEXES: Mapping[type[StoredObject], Mapping[str, KeyOf[Any]]] = {
    Service: {
        "name": _name_of,
        "waiting": lambda service: bool(service.waits_for),
        "autoscaled": lambda service: AUTOSCALE_LABEL in service.spec.labels,
    },
    Node: {"name": _name_of, "called": lambda node: fold(node.name)},
    Task: {
        "service": lambda task: task.service_id,
        "node": lambda task: task.node_id,
        "slot": lambda task: (task.service_id, task.slot or task.node_id),
        "container": lambda task: task.container[:SHORT_ID],
    },
    RegistryLogin: {},
    RootKey: {},
    ImageName: {"name": _name_of, "image": lambda name: name.image_id},
    NetworkAttachment: {
        "name": _name_of,
        "node": lambda attachment: attachment.node_id,
        "container": lambda attachment: attachment.container[:SHORT_ID],
    },
    Volume: {"name": _name_of, "node": lambda volume: volume.node_id},
    VolumeClaim: {
        "name": _name_of,
        "node": lambda claim: claim.node_id,
        "service": lambda claim: claim.service,
    },
}
_SEVERAL: Mapping[type[StoredObject], Mapping[str, KeysOf[Any]]] = {
    Service: {
        "port": lambda service: [(port.protocol, port.published_port) for port in service.published_ports],
        "dependency": lambda service: names_depended_on(service.spec.labels),
    }
}


def indexes_of(kind: type[StoredObject]) -> Mapping[str, KeyOf[Any]]:
    """Return the indexes of a kind of object: by name, the function that returns an object's key."""
    return _INDEXES.get(kind, _BY_NAME)


V = TypeVar("V")


class _TableOf(Generic[V]):
    """The table of one kind, created on first access, as most transactions use few of them."""

    def __init__(self, kind: type[StoredObject]) -> None:
        self._kind = kind

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, tables: Tables, _: type) -> V:
        table: V = tables.of(self._kind)
        tables.__dict__[self._name] = table  # later accesses find it there
        return table


class Tables:
    """All tables of one state. With `below`, a private copy-on-write layer on top of another."""

    services = _TableOf[ServiceTableView](Service)
    nodes = _TableOf[NodeTableView](Node)
    networks = _TableOf[NamedTableView[Network]](Network)
    attachments = _TableOf[AttachmentTableView](NetworkAttachment)
    secrets = _TableOf[NamedTableView[Secret]](Secret)
    configs = _TableOf[NamedTableView[Config]](Config)
    image_names = _TableOf[ImageNameTableView](ImageName)
    client_certificates = _TableOf[NamedTableView[ClientCertificate]](ClientCertificate)
    dashboard_tokens = _TableOf[NamedTableView[DashboardToken]](DashboardToken)
    registry_logins = _TableOf[TableView[RegistryLogin]](RegistryLogin)
    root_keys = _TableOf[TableView[RootKey]](RootKey)
    clusters = _TableOf[NamedTableView[Cluster]](Cluster)
    tasks = _TableOf[TaskTableView](Task)
    volumes = _TableOf[VolumeTableView](Volume)
    volume_claims = _TableOf[VolumeClaimTableView](VolumeClaim)
    transfers = _TableOf[NamedTableView[Transfer]](Transfer)

    def __init__(self, below: Tables | None = None) -> None:
        self._below = below
        self._by_type: dict[type[StoredObject], Any] = {}
        self.index: int = 0 if below is None else below.index

    @property
    def cluster(self) -> Cluster:
        cluster = next(iter(self.clusters), None)
        if cluster is not None:
            return cluster
        raise Unavailable("this manager does not have a cluster yet: run 'swarm-manager init' first")

    def of(self, kind: type[StoredObject]) -> Any:
        """Return the table of a kind of object, for code that handles all kinds alike."""
        table = self._by_type.get(kind)
        if table is None:
            indexes, several, below = indexes_of(kind), _SEVERAL.get(kind, {}), self._below
            table = Table(indexes, several) if below is None else Overlay(below.of(kind), indexes, several)
            self._by_type[kind] = table
        return table

    def merge(self) -> None:
        """Move this layer's changes into the one below; the caller sets its index."""
        for overlay in self._by_type.values():
            overlay.merge()

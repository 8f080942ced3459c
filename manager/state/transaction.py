"""One consistent view of all tables, and the private layer in which a transaction makes its changes."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from common.errors import AlreadyExists, Unavailable
from common.model import (
    ClientCertificate,
    Cluster,
    Config,
    ImageName,
    Network,
    NetworkAttachment,
    Node,
    Secret,
    Service,
    StoredObject,
    Task,
)
from common.model.meta import Specified, Version
from manager.state.changes import Change, ChangeSet, Decision
from manager.state.observation import check
from manager.state.tables import Overlay, Table, indexes_of
from manager.state.view import (
    AttachmentTableView,
    ImageNameTableView,
    NamedTableView,
    NodeTableView,
    ServiceTableView,
    TaskTableView,
)

_UNIQUE_NAMES = {
    Service: "service",
    Network: "network",
    Secret: "secret",
    Config: "config",
    Cluster: "cluster",
}


class Tables:
    """All tables of one state. With `below`, a private copy-on-write layer on top of another."""

    def __init__(self, below: Tables | None = None) -> None:
        self._by_type: dict[type[StoredObject], Any] = {
            kind: Table(indexes_of(kind)) if below is None else Overlay(below.of(kind), indexes_of(kind))
            for kind in get_args(StoredObject)
        }
        self.services: ServiceTableView = self._by_type[Service]
        self.nodes: NodeTableView = self._by_type[Node]
        self.networks: NamedTableView[Network] = self._by_type[Network]
        self.attachments: AttachmentTableView = self._by_type[NetworkAttachment]
        self.secrets: NamedTableView[Secret] = self._by_type[Secret]
        self.configs: NamedTableView[Config] = self._by_type[Config]
        self.image_names: ImageNameTableView = self._by_type[ImageName]
        self.client_certificates: NamedTableView[ClientCertificate] = self._by_type[ClientCertificate]
        self.clusters: NamedTableView[Cluster] = self._by_type[Cluster]
        self.tasks: TaskTableView = self._by_type[Task]
        self.index: int = 0 if below is None else below.index

    @property
    def cluster(self) -> Cluster:
        cluster = next(iter(self.clusters), None)
        if cluster is not None:
            return cluster
        raise Unavailable("this manager has no cluster yet: run 'swarm-manager init' first")

    def of(self, kind: type[StoredObject]) -> Any:
        """Return the table of a kind of object, for code that handles all kinds alike."""
        return self._by_type[kind]

    def merge(self) -> None:
        """Move this layer's changes into the one below; its index is the caller's to set."""
        for overlay in self._by_type.values():
            overlay.merge()


class Transaction(Tables):
    """A state that may be changed in private; the store commits it whole or drops it."""

    def __init__(self, below: Tables, now: float) -> None:
        super().__init__(below)
        self.now = now
        self._below = below
        self._touched: dict[tuple[type[StoredObject], str], StoredObject | None] = {}

    @property
    def next_index(self) -> int:
        """The version index that everything changed here will carry."""
        return self._below.index + 1

    def put(self, value: StoredObject) -> None:
        """Create or replace an object; version and times are set here.

        Raises:
            AlreadyExists: another object of its kind has its name, where names are unique.
            InvalidTransition: a bug: the change of a task must never be.

        """
        kind = type(value)
        table = self.of(kind)
        old = table.get(value.id)
        if old is value:
            return
        if isinstance(value, Task) and old is not None:
            check(old, value)
        self._refuse_taken_name(table, value)
        self._touched.setdefault((kind, value.id), old)
        table.put(
            msgspec.structs.replace(
                value,
                version=Version(index=self.next_index),
                created_at=old.created_at if old is not None else value.created_at or self.now,
                updated_at=self.now,
                **({"spec_index": self._spec_index(old, value)} if isinstance(value, Specified) else {}),
            )
        )

    def _spec_index(self, old: Any, value: Any) -> int:
        """Return the index of the last change of a specification."""
        if old is None or old.spec != value.spec:
            return self.next_index
        return int(old.spec_index or old.version.index)

    def remove(self, value: StoredObject) -> None:
        """Delete an object; one that is not there is no error."""
        table = self.of(type(value))
        old = table.get(value.id)
        if old is not None:
            self._touched.setdefault((type(value), value.id), old)
            table.discard(value.id)

    def apply(self, decision: Decision) -> None:
        for value in decision.put:
            self.put(value)
        for value in decision.remove:
            self.remove(value)

    def change_set(self) -> ChangeSet:
        """Return what changed, in the order of first touch; objects made and removed here are not in it."""
        changes = []
        for (kind, object_id), old in self._touched.items():
            new = self.of(kind).get(object_id)
            if old is not None or new is not None:
                changes.append(Change(old=old, new=new))
        return ChangeSet(index=self.next_index, changes=tuple(changes))

    def _refuse_taken_name(self, table: Any, value: StoredObject) -> None:
        noun = _UNIQUE_NAMES.get(type(value))
        if noun is None or _leaves(value):
            return
        for other in table.named(value.name):
            if other.id != value.id and not _leaves(other):
                text = f"name conflicts with an existing object: {noun} {value.name} already exists"
                raise AlreadyExists(text)


def _leaves(value: StoredObject) -> bool:
    """Whether it is a service whose tasks are being stopped: its name is free already."""
    return isinstance(value, Service) and value.pending_delete

"""Transactions: the private layer for changes, and the rules that each change must obey."""

from __future__ import annotations

from typing import Any

import msgspec

from common.errors import AlreadyExists
from common.model import (
    Cluster,
    Config,
    Network,
    Secret,
    Service,
    StoredObject,
    Task,
)
from common.model.naming import Specified, Version
from manager.store.changes import Change, ChangeSet, Decision
from manager.store.observation import check
from manager.store.tables import Tables

_UNIQUE_NAMES = {
    Service: "service",
    Network: "network",
    Secret: "secret",
    Config: "config",
    Cluster: "cluster",
}


class Transaction(Tables):
    """A state that may be changed in private; the store commits it whole or drops it."""

    def __init__(self, below: Tables, now: float) -> None:
        super().__init__(below)
        self.now = now
        self._touched: dict[tuple[type[StoredObject], str], StoredObject | None] = {}

    @property
    def next_index(self) -> int:
        """The version index that everything changed here will carry."""
        assert self._below is not None, "a transaction is on top of a state"
        return self._below.index + 1

    def put(self, value: StoredObject) -> None:
        """Create or replace an object; version and times are set here.

        Raises:
            AlreadyExists: another object of its kind has its name, where names are unique.
            InvalidTransition: a bug: the change of a task is forbidden.

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
        """Delete an object; a missing one is not an error."""
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

    def change_set(self, by: str = "") -> ChangeSet:
        """Return what changed, in the order of first touch; objects created and removed here are not in it."""
        changes = []
        for (kind, object_id), old in self._touched.items():
            new = self.of(kind).get(object_id)
            if old is not None or new is not None:
                changes.append(Change(old=old, new=new))
        return ChangeSet(index=self.next_index, changes=tuple(changes), by=by)

    def _refuse_taken_name(self, table: Any, value: StoredObject) -> None:
        noun = _UNIQUE_NAMES.get(type(value))
        if noun is None or _leaves(value):
            return
        for other in table.named(value.name):
            if other.id != value.id and not _leaves(other):
                text = f"name conflicts with an existing object: {noun} {value.name} already exists"
                raise AlreadyExists(text)


def _leaves(value: StoredObject) -> bool:
    """Whether it is a service that is being removed: its name is free already."""
    return isinstance(value, Service) and value.pending_delete

"""Changes as values: what a decider returns, what a transaction commits, what a watcher hears."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from common.model import StoredObject


@dataclass(frozen=True, slots=True)
class Decision:
    """What a decider wants changed. It performs nothing; the loop commits it in the same transaction that it read.

    `put` holds whole objects to create or replace (told apart by whether their id exists), `remove` objects to delete,
    `wake_at` the instants (Unix seconds) at which a key wants to be decided again, `reasons` one sentence a person
    understands for each notable decision, for the log.
    """

    put: tuple[StoredObject, ...] = ()
    remove: tuple[StoredObject, ...] = ()
    wake_at: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.remove)


class Change(msgspec.Struct, frozen=True):
    """One object's change: created (`old` is None), updated, or removed (`new` is None)."""

    old: StoredObject | None
    new: StoredObject | None

    @property
    def current(self) -> StoredObject:
        """The object as it is now, or as it last was when it is gone."""
        value = self.new if self.new is not None else self.old
        assert value is not None
        return value


class ChangeSet(msgspec.Struct, frozen=True):
    """All changes of one transaction, in order, under one version index. The backend stores it whole or not at all.

    `by` is the name of the client that asked for it, empty where none did; it is for those who watch, and not stored.
    """

    index: int
    changes: tuple[Change, ...]
    by: str = ""

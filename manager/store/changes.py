"""Changes as values: what a decider drafts and returns, what a transaction commits, what a watcher gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from common.model import StoredObject, Task

# Changes of one transaction, about.
MAX_CHANGES = 500


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


class Draft:
    """A `Decision` while it is made: up to about `limit` changes, so that no transaction blocks the manager for long.

    A decider that finds the draft `full` leaves the rest for an immediate wake-up. Steps that belong together may
    exceed the limit a little. A later `put` of the same object replaces the earlier one. `leaving` counts by node id
    the tasks that are being moved away, for `orchestrate.reconcile.drain`: all services of one decision share it.
    `rolled_back`: a service has returned to an earlier specification, and may hold ports that the decision's view does
    not show.
    """

    def __init__(self, limit: int = MAX_CHANGES) -> None:
        self._limit = limit
        self._put: dict[tuple[type[StoredObject], str], StoredObject] = {}
        self._remove: dict[tuple[type[StoredObject], str], StoredObject] = {}
        self._wake_at: dict[str, float] = {}
        self._reasons: list[str] = []
        self.leaving: dict[str, int] = {}
        self.rolled_back = False

    @property
    def room(self) -> int:
        """How many more changes fit."""
        return max(0, self._limit - len(self._put) - len(self._remove))

    @property
    def full(self) -> bool:
        return self.room == 0

    def put(self, value: StoredObject) -> None:
        self._put[type(value), value.id] = value

    def latest(self, task: Task) -> Task:
        """Return a task as it was put last, or the given one."""
        found = self._put.get((Task, task.id))
        return found if isinstance(found, Task) else task

    def remove(self, value: StoredObject) -> None:
        self._remove[type(value), value.id] = value

    def wake(self, key: str, instant: float) -> None:
        """Ask to decide `key` again at `instant` (Unix seconds); the earliest counts."""
        self._wake_at[key] = min(instant, self._wake_at.get(key, instant))

    def reason(self, sentence: str) -> None:
        self._reasons.append(sentence)

    def decision(self) -> Decision:
        return Decision(
            put=tuple(self._put.values()),
            remove=tuple(self._remove.values()),
            wake_at=self._wake_at,
            reasons=tuple(self._reasons),
        )


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

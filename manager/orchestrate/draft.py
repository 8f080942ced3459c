"""A decision while it is being made."""

from __future__ import annotations

from common.model import StoredObject, Task
from manager.state.changes import Decision

MAX_CHANGES = 500


class Draft:
    """Collects changes up to about `limit`, so that no transaction holds up the manager for long.

    A decider that finds the draft `full` leaves the rest for a wake-up at once. Steps that belong together may go a
    little over. A later `put` of the same object replaces the earlier. `leaving` counts the tasks on the move off a
    node, for `drain`: all services of one decision share it. `rolled_back`: a service has returned to an earlier
    specification, and may hold ports that the decision's view does not show.
    """

    def __init__(self, limit: int = MAX_CHANGES) -> None:
        self._limit = limit
        self._put: dict[tuple[type[StoredObject], str], StoredObject] = {}
        self._remove: dict[str, StoredObject] = {}
        self._wake_at: dict[str, float] = {}
        self._reasons: list[str] = []
        self.leaving: dict[str, int] = {}
        self.rolled_back = False

    @property
    def room(self) -> int:
        """How many more changes are welcome."""
        return max(0, self._limit - len(self._put) - len(self._remove))

    @property
    def full(self) -> bool:
        return self.room == 0

    def put(self, value: StoredObject) -> None:
        self._put[type(value), value.id] = value

    def latest(self, task: Task) -> Task:
        """Return a task as it was put last, or as it is given when it was not."""
        found = self._put.get((Task, task.id))
        return found if isinstance(found, Task) else task

    def remove(self, value: StoredObject) -> None:
        self._remove[value.id] = value

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

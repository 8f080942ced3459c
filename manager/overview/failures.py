"""Failures counted by the minute: how many there were lately costs the same after ten and after ten thousand."""

from __future__ import annotations

from common.model import Task

MINUTE_SECONDS = 60.0
HOUR_SECONDS = 3600.0
_KEPT_MINUTES = 60


class Failures:
    """Failures of a service's or a node's tasks.

    `total` counts those that were heard of as they came; `last` is the newest, heard of or found.
    """

    __slots__ = ("_minutes", "last", "last_at", "total")

    def __init__(self) -> None:
        self._minutes: dict[int, int] = {}
        self.total = 0
        self.last: Task | None = None
        self.last_at = 0.0

    def add(self, task: Task, at: float, *, heard: bool) -> None:
        """Count a task that failed at `at` (Unix seconds)."""
        self.total += heard
        minute = int(at // MINUTE_SECONDS)
        self._minutes[minute] = self._minutes.get(minute, 0) + 1
        if len(self._minutes) > _KEPT_MINUTES:
            del self._minutes[min(self._minutes)]
        if at >= self.last_at:
            self.last, self.last_at = task, at

    def by_minute(self, now: float) -> list[int]:
        """Return how many there were in each minute of the hour that ends now, the oldest first."""
        last = int(now // MINUTE_SECONDS)
        return [self._minutes.get(minute, 0) for minute in range(last - _KEPT_MINUTES + 1, last + 1)]

    def since(self, instant: float) -> int:
        """Return how many there were from the minute of `instant` on, an hour back at most."""
        first = int(instant // MINUTE_SECONDS)
        if self.last_at // MINUTE_SECONDS < first:
            return 0
        return sum(count for minute, count in self._minutes.items() if minute >= first)

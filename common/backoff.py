"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Delays in seconds that double from `first` to `limit`, each drawn from its upper half.

    The jitter keeps a thousand workers that lost one manager from coming back in the same instant; the floor of one
    half keeps a single one from hammering.
    """

    def __init__(self, first: float, limit: float, rng: random.Random) -> None:
        self._first = first
        self._limit = limit
        self._rng = rng
        self._next = first

    def next(self) -> float:
        """Return the next delay; the one after it is longer."""
        ceiling = self._next
        self._next = min(self._next * 2, self._limit)
        return self._rng.uniform(ceiling / 2, ceiling)

    def reset(self) -> None:
        """Begin again from the first delay: what was tried has worked."""
        self._next = self._first

"""Keeps an unexpected error from spreading: loops that begin anew, and work for one that ends nobody else's.

`Backoff` says how long to wait before trying again, `Rounds` is one piece of work for many who ask at about one time,
and `in_pieces` lets long work leave others their turn.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

# How long what met a bug is left alone: what makes it raise may do so each time.
PAUSE_SECONDS = 10.0

_log = logging.getLogger(__name__)
T = TypeVar("T")


async def keep_going(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a loop until cancelled. A bug that ends it is logged whole, and it begins anew after `PAUSE_SECONDS`.

    Only for loops that depend on nothing that they have seen before they began.
    """
    while True:
        try:
            await run()
        except Exception:  # noqa: BLE001 - without the daemon nobody could even remove what the bug is about
            _log.exception("a bug ended %s: restarting it in %g s", name, PAUSE_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


async def contain_errors(work: Awaitable[None], what: str) -> None:
    """Do something for one of many. A bug that it meets is logged whole, and ends this alone."""
    try:
        await work
    except Exception:  # noqa: BLE001 - all others, and the task group that it is in, must not pay for it
        _log.exception("a bug ended %s", what)


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


class Rounds:
    """Does `work` once for all who ask within `gather` seconds. Each is served by a round that began after it asked."""

    def __init__(self, work: Callable[[], Awaitable[None]], gather: float) -> None:
        self._work = work
        self._gather = gather
        self._next: asyncio.Task[None] | None = None

    async def served(self) -> None:
        """Wait for a round; its error is raised to all whom it was for. A caller that gives up does not end it."""
        if self._next is None:
            self._next = asyncio.create_task(self._round())
        await asyncio.shield(self._next)

    async def _round(self) -> None:
        await asyncio.sleep(self._gather)
        self._next = None
        await self._work()


async def in_pieces(values: Sequence[T], size: int) -> AsyncIterator[T]:
    """Yield values so that others have their turn after each `size` of them."""
    for number, value in enumerate(values, 1):
        yield value
        if number % size == 0:
            await asyncio.sleep(0)

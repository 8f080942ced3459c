"""How many containers of one engine are created, started, stopped and removed at once.

An engine is quicker with a few at a time than with many: thirty stops at once took an eighth longer on two cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

# With more calls a core at a time an engine is no faster, and answers later.
CALLS_A_CORE = 2
FEWEST_CALLS = 4
QUICK_STOP_SECONDS = 1.0
# A create, start or removal that takes longer waits for something: a volume's driver, a file server, a hung runc.
STUCK_CHANGE_SECONDS = 15.0
# While one of them is stuck, others count as stuck after this time.
NEXT_STUCK_SECONDS = 1.0


def calls_at_once(cores: int) -> int:
    """Return how many creates, starts and removals an engine is asked for at once, on a host with so many cores."""
    return max(FEWEST_CALLS, CALLS_A_CORE * cores)


class EngineCallLimiter:
    """Limits calls to an engine: to `places` creates, starts and removals at once, and as many stops beside them.

    A slow call loses its place, so that it does not hold up all others. A stop loses it after `QUICK_STOP_SECONDS`, as
    a program that ignores its signal takes its whole grace period; while one such is being stopped, other stops do not
    wait. A change loses it after `STUCK_CHANGE_SECONDS`, and while one is stuck, others after `NEXT_STUCK_SECONDS`.
    """

    def __init__(self, places: int) -> None:
        self._changes = _Places(places, STUCK_CHANGE_SECONDS, NEXT_STUCK_SECONDS)
        self._stops = _Places(places, QUICK_STOP_SECONDS, 0.0)

    def change(self) -> AbstractAsyncContextManager[None]:
        """Wait for a place to create, start or remove a container in."""
        return self._changes.one()

    def stop(self) -> AbstractAsyncContextManager[None]:
        """Wait for a place to stop a container in."""
        return self._stops.one()


class _Places:
    """Places for calls. A call loses its own after `seconds`; while one has, others after `others_seconds`."""

    def __init__(self, places: int, seconds: float, others_seconds: float) -> None:
        self._free = asyncio.Semaphore(places)
        self._seconds = seconds
        self._others_seconds = others_seconds
        self._slow = 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a place for the block, which goes on without it when it takes too long."""
        await self._free.acquire()
        quick = True

        def give_up() -> None:
            nonlocal quick
            quick = False
            self._slow += 1
            self._free.release()

        seconds = self._others_seconds if self._slow else self._seconds
        timer = asyncio.get_running_loop().call_later(seconds, give_up)
        try:
            yield
        finally:
            timer.cancel()
            if quick:
                self._free.release()
            else:
                self._slow -= 1

"""How many containers of one engine are created, started, stopped and removed at once.

An engine is quicker with a few at a time than with many: thirty stops at once took an eighth longer on two cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

# More of them at a time, a core, and an engine does them no faster, and answers later.
CALLS_A_CORE = 2
FEWEST_CALLS = 4
QUICK_STOP_SECONDS = 1.0
# A create, start or removal that takes longer waits for something: a volume's driver, a file server, a hung runc.
STUCK_CHANGE_SECONDS = 15.0
# While one of them is stuck, others are taken for stuck after so long.
NEXT_STUCK_SECONDS = 1.0


def calls_at_once(cores: int) -> int:
    """How many containers the engine of a host with so many cores is asked to create, start or remove at a time."""
    return max(FEWEST_CALLS, CALLS_A_CORE * cores)


class EngineCallLimiter:
    """Lets `places` creates, starts and removals through at once, and as many stops beside them.

    A stop has its place for a moment only. A program that does not heed its signal takes its whole grace; while one
    such is being stopped, other stops do not wait at all. A change that is stuck keeps its place for a while, and while
    one is, others keep theirs for a moment: what the engine does not get done must not keep it from all else.
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
    """Places for calls, which lose theirs after `patience` seconds, or `impatience` while there are such calls."""

    def __init__(self, places: int, patience: float, impatience: float) -> None:
        self._free = asyncio.Semaphore(places)
        self._patience = patience
        self._impatience = impatience
        self._slow = 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a place, and have it in the block, which may go on without it."""
        await self._free.acquire()
        quick = True

        def give_up() -> None:
            nonlocal quick
            quick = False
            self._slow += 1
            self._free.release()

        patience = self._impatience if self._slow else self._patience
        timer = asyncio.get_running_loop().call_later(patience, give_up)
        try:
            yield
        finally:
            timer.cancel()
            if quick:
                self._free.release()
            else:
                self._slow -= 1

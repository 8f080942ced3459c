"""How many containers of one engine are created, started, stopped and removed at once.

An engine is quicker with a few at a time than with many: thirty stops at once took an eighth longer on two cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# More of them at a time, a core, and an engine does them no faster, and answers later.
CALLS_A_CORE = 2
FEWEST_CALLS = 4
QUICK_STOP_SECONDS = 1.0


def calls_at_once(cores: int) -> int:
    """How many containers the engine of a host with so many cores is asked to create, start or remove at a time."""
    return max(FEWEST_CALLS, CALLS_A_CORE * cores)


class EngineGate:
    """Lets `places` creates, starts and removals through at once, and as many stops beside them.

    A stop has its place for a moment only. A program that does not heed its signal takes its whole grace; while one
    such is being stopped, other stops do not wait at all.
    """

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._stops = asyncio.Semaphore(places)
        self._slow = 0

    @asynccontextmanager
    async def change(self) -> AsyncIterator[None]:
        """Wait for a place to create, start or remove a container in."""
        async with self._places:
            yield

    @asynccontextmanager
    async def stop(self) -> AsyncIterator[None]:
        """Wait for a place to stop a container in, which is given up when that takes long."""
        await self._stops.acquire()
        quick = True

        def give_up() -> None:
            nonlocal quick
            quick = False
            self._slow += 1
            self._stops.release()

        timer = asyncio.get_running_loop().call_later(0 if self._slow else QUICK_STOP_SECONDS, give_up)
        try:
            yield
        finally:
            timer.cancel()
            if quick:
                self._stops.release()
            else:
                self._slow -= 1

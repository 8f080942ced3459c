"""How long a command waits: for as long as the manager lives. An answer may take its time, a ping may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

# After so long without an answer the manager is pinged beside it, and has so long to answer that.
SILENT_SECONDS = 10.0
PING_SECONDS = 10.0


class Watch:
    """The watch over one request."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._heard_at = asyncio.get_running_loop().time()
        self._over = False

    def heard(self) -> None:
        """Note that the manager has just given or taken something."""
        self._heard_at = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Watch no more: what comes now may be silent for as long as it likes."""
        self._over = True

    async def run(self, ping: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        while not self._over:
            left = self._heard_at + SILENT_SECONDS - loop.time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await ping()
            except TimeoutError:
                self._give_up()
                return
            self.heard()

    def _give_up(self) -> None:
        if not self._over:
            self._limit.reschedule(asyncio.get_running_loop().time())


@asynccontextmanager
async def while_it_lives(ping: Callable[[], Awaitable[None]]) -> AsyncIterator[Watch]:
    """Run the block for as long as the manager answers `ping`; that it cannot be reached is the block's to find out.

    Raises:
        TimeoutError: it takes connections and does not answer.

    """
    async with asyncio.timeout(None) as limit:
        watch = Watch(limit)
        watching = asyncio.create_task(watch.run(ping))
        try:
            yield watch
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            if not watching.cancelled():
                watching.result()

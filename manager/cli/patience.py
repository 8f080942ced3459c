"""How long a command waits: for as long as the manager lives. An answer may take its time, a ping may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from common.pulse import Pulse

# After so long without an answer the manager is pinged beside it, and has so long to answer that.
SILENT_SECONDS = 10.0
PING_SECONDS = 10.0


class Watch:
    """The watch over one request, which `watching` keeps."""

    def __init__(self, pulse: Pulse, watching: asyncio.Task[None]) -> None:
        self.heard = pulse.heard  # the manager has just given or taken something
        self._watching = watching

    def end(self) -> None:
        """Watch no more: what comes now may be silent for as long as it likes."""
        self._watching.cancel()


@asynccontextmanager
async def while_it_lives(ping: Callable[[], Awaitable[None]]) -> AsyncIterator[Watch]:
    """Run the block for as long as the manager answers `ping`; that it cannot be reached is the block's to find out.

    Raises:
        TimeoutError: it takes connections and does not answer.

    """
    async with asyncio.timeout(None) as limit:
        pulse = Pulse(ping, SILENT_SECONDS, PING_SECONDS)
        pulse.heard()
        watching = asyncio.create_task(_end_when_stopped(limit, pulse))
        try:
            yield Watch(pulse, watching)
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            if not watching.cancelled():
                watching.result()


async def _end_when_stopped(limit: asyncio.Timeout, pulse: Pulse) -> None:
    await pulse.stopped()
    limit.reschedule(asyncio.get_running_loop().time())

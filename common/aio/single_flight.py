"""One piece of work for many who ask for it at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


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

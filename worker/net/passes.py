"""Passes over something that is kept as planned: which changes were noted, and up to which of them it is."""

from __future__ import annotations

import asyncio

# Many notes within this time are one pass.
COALESCE_SECONDS = 0.005


class Passes:
    """Numbers what is noted. One loop takes passes with `begin` and `end`; any number of others wait."""

    def __init__(self) -> None:
        self._noted = 0
        self._to_do = asyncio.Event()
        self._settled = -1
        self._ruled = -1
        self._ended = asyncio.Condition()

    @property
    def up_to_date(self) -> bool:
        """Whether all that was noted is done."""
        return self._settled >= self._noted

    def note(self) -> None:
        """Take note that something may not be as planned."""
        self._noted += 1
        self._to_do.set()

    def again_in(self, delay: float) -> None:
        """Have another pass in so many seconds, or with the next note."""
        asyncio.get_running_loop().call_later(delay, self._to_do.set)

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def begin(self) -> int:
        """Wait for something to do; return the number up to which this pass does it."""
        await self._to_do.wait()
        await asyncio.sleep(COALESCE_SECONDS)
        self._to_do.clear()
        return self._noted

    async def end(self, number: int, *, settled: bool, ruled: bool) -> None:
        """Say how far a pass came: with everything (`settled`), or with the rules at least (`ruled`)."""
        if settled:
            self._settled = number
        if settled or ruled:
            self._ruled = number
        await self.tell()

    async def tell(self) -> None:
        """Wake everybody who waits."""
        async with self._ended:
            self._ended.notify_all()

    # --- who waits ----------------------------------------------------------------------------------------------------

    async def in_line(self) -> None:
        """Wait until what was noted up to now is done."""
        number = self._noted
        async with self._ended:
            await self._ended.wait_for(lambda: self._settled >= number)

    async def ruled(self) -> None:
        """Wait until the rules are as noted up to now, even if something else cannot be as planned yet.

        So a task that is to stop does not wait for a network that waits for the task's own to be free.
        """
        number = self._noted
        async with self._ended:
            await self._ended.wait_for(lambda: self._ruled >= number)

    async def next(self) -> None:
        """Wait for the end of a pass, or of a regular check."""
        async with self._ended:
            await self._ended.wait()

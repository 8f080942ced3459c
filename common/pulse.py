"""Whether somebody who may be silent for long still lives: lately heard of, or else pinged."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable


class Pulse:
    """After `silence` seconds without a word there is a `ping`, which has `patience` seconds to be answered."""

    def __init__(self, ping: Callable[[], Awaitable[None]], silence: float, patience: float) -> None:
        self.silence = silence
        self.patience = patience
        self._ping = ping
        self._heard_at = -math.inf  # the loop's time

    def heard(self) -> None:
        """Note a word of any kind."""
        self._heard_at = asyncio.get_running_loop().time()

    async def stopped(self) -> None:
        """Return when a ping was not answered in time; raise what a ping raises."""
        while True:
            left = self._heard_at + self.silence - asyncio.get_running_loop().time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            try:
                async with asyncio.timeout(self.patience):
                    await self._ping()
            except TimeoutError:
                return
            self.heard()

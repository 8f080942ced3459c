"""Whether somebody who may be silent for long still lives: lately heard of, or else asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable


class Pulse:
    """After `silence` seconds without a word, `ask` is a question that has `patience` seconds to be answered."""

    def __init__(self, ask: Callable[[], Awaitable[None]], silence: float, patience: float) -> None:
        self.silence = silence
        self.patience = patience
        self._ask = ask
        self._heard_at = -math.inf  # the loop's time

    def heard(self) -> None:
        """Note a word of any kind."""
        self._heard_at = asyncio.get_running_loop().time()

    async def stopped(self) -> None:
        """Return when the question was not answered in time; raise what it raises."""
        while True:
            left = await self._silent_since() + self.silence - asyncio.get_running_loop().time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            try:
                async with asyncio.timeout(self.patience):
                    await self._ask()
            except TimeoutError:
                return
            self.heard()

    async def _silent_since(self) -> float:
        """Return since when there should have been a word (the loop's time); wait while none is due."""
        return self._heard_at

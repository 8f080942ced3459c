"""Keepalive: whether a peer that may be silent for long is still there, asked only where it was not heard of lately."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable


class Pulse:
    """Asks a peer that was not heard of for `silence` seconds; `ask` then has `patience` seconds to return."""

    def __init__(self, ask: Callable[[], Awaitable[None]], silence: float, patience: float) -> None:
        self.silence = silence
        self.patience = patience
        self._ask = ask
        self._heard_at = -math.inf  # the loop's time

    def heard(self) -> None:
        """Note that something came from the peer, whatever it was."""
        self._heard_at = asyncio.get_running_loop().time()

    async def stopped(self) -> None:
        """Return when `ask` did not return in time; raise what it raises."""
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
        """Return when the peer was last heard of (the loop's time); wait while it need not be heard of."""
        return self._heard_at

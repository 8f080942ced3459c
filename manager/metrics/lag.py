"""How late the event loop is: what it is held by shows in timers that come late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY_SECONDS = 0.1


async def measure_lag(lagged: Callable[[float], None]) -> None:
    """Tell how late a timer was, ten times a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        lagged(max(0.0, loop.time() - due))

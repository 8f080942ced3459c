"""Whether this host's engine is there, and if not, since when and why."""

from __future__ import annotations

import asyncio

from worker.interfaces.engine import EngineConnected, EngineLost

# An engine that is away for this long cannot keep its tasks: the manager shall replace them elsewhere.
ENGINE_PATIENCE_SECONDS = 10.0


class EnginePresence:
    """What the engine's event stream says of the engine itself; nothing is known before its first word."""

    def __init__(self) -> None:
        self._there = asyncio.Event()
        self._gone = asyncio.Event()
        self._gone_at = 0.0  # the loop's time
        self._why = ""

    def note(self, event: EngineConnected | EngineLost) -> bool:
        """Take note of a word of the stream; return whether the engine is back after it was away."""
        back = self._gone.is_set() and isinstance(event, EngineConnected)
        if isinstance(event, EngineConnected):
            self._there.set()
            self._gone.clear()
            return back
        if not self._gone.is_set():
            self._gone_at = asyncio.get_running_loop().time()
        self._why = event.why
        self._there.clear()
        self._gone.set()
        return back

    async def there(self) -> None:
        """Wait until the engine answers."""
        await self._there.wait()

    async def missed(self) -> str:
        """Wait until the engine is away for so long that its tasks are to be replaced; return why, for a person."""
        while True:
            await self._gone.wait()
            left = self._gone_at + ENGINE_PATIENCE_SECONDS - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._there.wait()
            except TimeoutError:
                return f"its engine cannot be used: {self._why}"

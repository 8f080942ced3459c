"""Whether this host's engine can be used: whether it is there, and whether one that is silent hangs.

An engine that is silent may have nothing to say; or it hangs, or containerd under it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

from common.aio.pulse import Pulse
from worker.interfaces.engine import JSON, EngineConnected, EngineDown, EngineLost

# An engine that was not heard from for so long is pinged, and has so long to answer that.
SILENT_SECONDS = 5.0
PING_SECONDS = 10.0
# One that has not done for so long what it was told is asked for its version, which it cannot say without containerd.
STUCK_SECONDS = 30.0
VERSION_SECONDS = 20.0
# The tasks of an engine that is away for longer are to be replaced elsewhere.
ENGINE_PATIENCE_SECONDS = 10.0


class HangDetector:
    """Detects that an engine hangs. `host` is its name in errors, `ping` and `version` calls that it should answer."""

    def __init__(self, host: str, ping: Callable[[], Awaitable[None]], version: Callable[[], Awaitable[None]]) -> None:
        self._host = host
        self.pulse = Pulse(ping, SILENT_SECONDS, PING_SECONDS)
        self.changes = OpenChanges(version, STUCK_SECONDS, VERSION_SECONDS)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[asyncio.Future[NoReturn]]:
        """Watch an engine that has just answered; what this yields raises EngineDown when it hangs."""
        self.pulse.heard()
        hung = asyncio.ensure_future(self._hung())
        try:
            yield hung
        finally:
            hung.cancel()
            await asyncio.gather(hung, return_exceptions=True)  # whoever waited for it has heard why

    async def _hung(self) -> NoReturn:
        dead, stuck = asyncio.ensure_future(self.pulse.stopped()), asyncio.ensure_future(self.changes.stopped())
        try:
            await asyncio.wait({dead, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if dead.done():
                dead.result()
                raise EngineDown(
                    f"the Docker engine at {self._host} hangs: it has not answered for "
                    f"{self.pulse.silence + self.pulse.patience:g} s "
                    "(`systemctl restart docker` on its host restarts it)"
                )
            stuck.result()
            raise EngineDown(
                f"the Docker engine at {self._host} answers, but makes no progress: containerd hangs; nothing "
                f"was heard of it for {self.changes.patience:g} s "
                "(`systemctl restart containerd` on its host restarts it)"
            )
        finally:
            dead.cancel()
            stuck.cancel()
            await asyncio.gather(dead, stuck, return_exceptions=True)


async def next_unless(lines: AsyncIterator[JSON], hung: asyncio.Future[NoReturn]) -> JSON | None:
    """Wait for the next line of an answer that may be silent for long; None at its end. Raises what `hung` raises."""
    coming = asyncio.ensure_future(anext(lines, None))
    try:
        await asyncio.wait((coming, hung), return_when=asyncio.FIRST_COMPLETED)
        return await (coming if coming.done() else hung)
    finally:
        coming.cancel()


class OpenChanges(Pulse):
    """The changes that the engine was told to make and has not made yet.

    The engine is asked only while there are some, and again as long as one goes on: a stop may take its whole grace
    period, and a start may wait for a volume's driver.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]], silence: float, patience: float) -> None:
        super().__init__(ask, silence, patience)
        self._begun_at: dict[object, float] = {}  # the loop's time, oldest first
        self._some = asyncio.Event()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Have the block tell the engine to do something, and wait until it is done."""
        key = object()
        self._begun_at[key] = asyncio.get_running_loop().time()
        self._some.set()
        try:
            yield
        finally:
            del self._begun_at[key]
            if not self._begun_at:
                self._some.clear()

    async def _silent_since(self) -> float:
        await self._some.wait()
        return max(next(iter(self._begun_at.values())), self._heard_at)


class EnginePresence:
    """Whether the engine is there, by its event stream; nothing is known before that has said something."""

    def __init__(self) -> None:
        self._there = asyncio.Event()
        self._gone = asyncio.Event()
        self._gone_at = 0.0  # the loop's time
        self._why = ""

    def note(self, event: EngineConnected | EngineLost) -> bool:
        """Note that the stream was opened or lost; return whether the engine is back after it was away."""
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
        """Wait until the engine was away for `ENGINE_PATIENCE_SECONDS`; return why, for a person."""
        while True:
            await self._gone.wait()
            left = self._gone_at + ENGINE_PATIENCE_SECONDS - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._there.wait()
            except TimeoutError:
                return f"its engine cannot be used: {self._why}"

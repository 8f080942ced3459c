"""Measures the host every so often, for as long as the manager wants it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from common.wire.usage_messages import HostUsage, MeasureHost
from worker.metrics.host import Busy, measure

# What a manager may ask for, at most.
LEAST_SECONDS = 1.0

Read: TypeAlias = Callable[[Busy | None, str], Awaitable[tuple[HostUsage, Busy]]]

_log = logging.getLogger(__name__)


async def read_host(before: Busy | None, disk: str) -> tuple[HostUsage, Busy]:
    """Read what the host uses, beside the event loop; errors as `host.measure`."""
    return await asyncio.to_thread(measure, before, disk)


class HostMeter:
    """`disk` tells a path on the disk where the engine keeps its data, empty while that is not known."""

    def __init__(self, disk: Callable[[], str], read: Read = read_host) -> None:
        self._disk = disk
        self._read = read
        self._interval = 0.0
        self._due = 0.0
        self._before: Busy | None = None
        self._wanted = asyncio.Event()
        self._failed = False

    def order(self, message: MeasureHost) -> None:
        """Measure so often from now on, or not at all."""
        self._interval = max(message.interval, LEAST_SECONDS) if message.interval > 0 else 0.0
        self._due = asyncio.get_running_loop().time()
        if self._interval:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def take(self) -> HostUsage:
        """Wait until a measurement is due, and return it; for ever, while none is wanted."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._due - asyncio.get_running_loop().time())
            if not self._interval:
                continue
            self._due = asyncio.get_running_loop().time() + self._interval
            if (usage := await self._measured()) is not None:
                return usage

    async def _measured(self) -> HostUsage | None:
        try:
            usage, self._before = await self._read(self._before, self._disk())
        except (OSError, ValueError, KeyError, IndexError) as error:
            if not self._failed:
                _log.warning("what this host uses cannot be told: %s", error)
            self._failed = True
            return None
        self._failed = False
        return usage

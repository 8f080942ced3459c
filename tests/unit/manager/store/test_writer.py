"""What the writer does beside storing."""

import asyncio
import contextlib
import time

from common.clock import SystemClock
from manager.store.backends.memory import MemoryBackend
from manager.store.tables import Tables
from manager.store.writer import Writer

BEAT_SECONDS = 0.02


async def test_a_busy_leader_is_heard_of_though_nothing_changes() -> None:
    """Others replace one that only looks, for longer than a commit takes, whether there is something to change."""
    beats: list[float] = []

    async def beat() -> None:
        beats.append(time.monotonic())

    writer = Writer(MemoryBackend(), Tables(), SystemClock(), lambda _: None, beat=beat, beat_seconds=BEAT_SECONDS)
    running = asyncio.create_task(writer.run())
    looks = [asyncio.create_task(writer.update(lambda _: time.sleep(BEAT_SECONDS), "")) for _ in range(6)]
    await asyncio.gather(*looks)
    assert len(beats) >= 3
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

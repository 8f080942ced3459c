"""Waiters go on when the cluster changes, or after a while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.errors import Unavailable
from manager.cli.progress.event_feed import EventFeed, event_feed
from tests.fakes.virtual_loop import run_virtual


class Client:
    """A client whose event stream the test feeds; None ends it as a manager does that restarts."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str | None] = asyncio.Queue()

    @asynccontextmanager
    async def stream(self, *_: object) -> AsyncIterator[AsyncIterator[str]]:
        yield self._lines()

    async def _lines(self) -> AsyncIterator[str]:
        while (line := await self.lines.get()) is not None:
            yield line
        raise Unavailable("the manager is gone")


def test_an_event_wakes_all_who_wait() -> None:
    async def story() -> None:
        client: Any = Client()
        async with event_feed(client) as feed:
            waiting = [asyncio.ensure_future(feed.changed(0, 100.0)) for _ in range(3)]
            await asyncio.sleep(0)
            client.lines.put_nowait("{}")
            assert await asyncio.gather(*waiting) == [1, 1, 1]
            assert asyncio.get_running_loop().time() < 1.0
            assert await feed.changed(0, 100.0) == 1, "it has happened already"

    run_virtual(story())


def test_nobody_waits_longer_than_asked_for() -> None:
    async def story() -> None:
        feed = EventFeed()
        assert await feed.changed(0, 5.0) == 0
        assert asyncio.get_running_loop().time() == pytest.approx(5.0)
        assert await feed.changed(0, -1.0) == 0

    run_virtual(story())


def test_a_stream_that_breaks_costs_speed_alone() -> None:
    async def story() -> None:
        client: Any = Client()
        client.lines.put_nowait(None)
        async with event_feed(client) as feed:
            assert await feed.changed(0, 5.0) == 0

    run_virtual(story())

"""Waiting for the cluster to change: one event stream that any number of waiters share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from common.errors import SwarmError
from manager.cli.client import Client, filter_query


class EventFeed:
    """Counts the events seen; `changed(since)` returns when there are more, or after a while.

    Events say that something happened, not what: whoever waits asks the manager again. So a stream that breaks loses
    nothing but speed, and its end is not an error.
    """

    def __init__(self) -> None:
        self.count = 0
        self._more = asyncio.Condition()

    async def changed(self, since: int, within: float) -> int:
        """Wait at most `within` seconds for events after number `since`; return the number now."""
        # After a while the caller looks anyway: its deadline passed, or tasks moved, which give no events.
        with suppress(TimeoutError):
            async with asyncio.timeout(max(within, 0)), self._more:
                await self._more.wait_for(lambda: self.count > since)
        return self.count

    async def follow(self, client: Client) -> None:
        try:
            async with client.stream(
                "/events", filter_query({"type": ["service", "network", "node", "container"]})
            ) as lines:
                async for _ in lines:
                    async with self._more:
                        self.count += 1
                        self._more.notify_all()
        except SwarmError:
            return  # a manager that restarts: waiters go on by their own interval


@asynccontextmanager
async def event_feed(client: Client) -> AsyncIterator[EventFeed]:
    """Follow the events while the block runs."""
    feed = EventFeed()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(feed.follow(client))
        try:
            yield feed
        finally:
            following.cancel()

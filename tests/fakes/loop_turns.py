"""Telling in which turn of the event loop something happens: what takes its turns lets others have theirs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable


@contextlib.asynccontextmanager
async def turns() -> AsyncIterator[Callable[[], int]]:
    """Give a function that says how many turns the loop has made."""
    made = 0

    async def count() -> None:
        nonlocal made
        while True:
            await asyncio.sleep(0)
            made += 1

    counting = asyncio.create_task(count())
    try:
        yield lambda: made
    finally:
        counting.cancel()
        await asyncio.wait([counting])

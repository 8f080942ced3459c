"""Two connections joined: bytes carried both ways."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

CHUNK = 64 * 1024
_CLOSE_SECONDS = 3.0


async def splice(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter], far: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Carry bytes both ways until both ends have said all, or one breaks; then close both.

    An end that is done writing (half-close) is passed on where the other's transport can say that; TLS cannot, so there
    it closes the connection.
    """
    ways = [asyncio.ensure_future(carry(near[0], far[1])), asyncio.ensure_future(carry(far[0], near[1]))]
    try:
        # An end that breaks (OSError) is told to the other by closing it, below: there is no other way.
        await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (near, far):
            writer.close()
        for _, writer in (near, far):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await writer.wait_closed()


async def carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hear: Callable[[bytes], Awaitable[None]] | None = None
) -> None:
    """Carry bytes one way until they end, and say there that they have. `hear` is awaited for bytes before they go."""
    while data := await reader.read(CHUNK):
        if hear is not None:
            await hear(data)
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()

"""What a container without a terminal says: pieces of standard output and error in one stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

STDERR = 2
_HEADER = 8


class Source(Protocol):
    """Where the stream comes from: as `asyncio`'s and `aiohttp`'s readers read, EOFError at its end."""

    async def readexactly(self, n: int, /) -> bytes: ...


async def frames(source: Source) -> AsyncIterator[tuple[int, bytes]]:
    """Take the stream apart: before each piece is a header of eight bytes, its channel and its length."""
    while True:
        try:
            header = await source.readexactly(_HEADER)
            piece = await source.readexactly(int.from_bytes(header[4:], "big"))
        except EOFError:  # the end, or a manager that went away
            return
        yield header[0], piece

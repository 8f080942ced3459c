"""A stream at whose other end somebody has written something, and left."""

import asyncio
import socket


async def written(data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return this end of it; the data is short."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(data)
    return await asyncio.open_connection(sock=ours)

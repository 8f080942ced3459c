"""A connection to a program in a container: a request that becomes a stream, over the same endpoint as all others.

Of a container without a terminal it carries pieces of standard output and error, in frames.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

from common.errors import SwarmError
from manager.cli.client import Client
from manager.cli.connection import connect
from manager.cli.failures import ApiError, cannot_connect, reason_in

STDERR = 2
_HEADER = 8


async def open_stream(client: Client, path: str, body: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """POST a request, and return the connection that it has become.

    Raises:
        ApiError: the manager refused.
        CannotConnect: no manager answers.

    """
    endpoint = client.endpoint
    reader, writer = await connect(endpoint)
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: manager\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    try:
        async with client.watched():
            writer.write(head.encode() + content)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        if status >= 400:
            raise ApiError(status, await _reason(reader, answer))
    except (OSError, EOFError) as error:
        writer.close()
        raise cannot_connect(endpoint.url, error) from error
    except SwarmError:
        writer.close()
        raise
    return reader, writer


async def _reason(reader: asyncio.StreamReader, head: bytes) -> str:
    lines = head.decode("latin-1").lower().split("\r\n")
    sizes = [line.partition(":")[2].strip() for line in lines if line.startswith("content-length:")]
    text = (await reader.readexactly(int(sizes[0]))).decode(errors="replace") if sizes else ""
    return reason_in(text, lines[0])


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

"""Streams of the API: refused, taken apart, and cut off."""

import asyncio
from pathlib import Path

import pytest

from manager.cli.client import Client
from manager.cli.container.streams import frames, open_stream
from manager.cli.endpoint import Endpoint
from manager.cli.failures import ApiError, CannotConnect


async def test_a_refusal_is_the_managers_words(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"POST /exec/e1/start HTTP/1.1\r\n" in head
        body = b'{"message":"container is paused"}'
        writer.write(b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_unix_server(refuse, tmp_path / "s")
    with pytest.raises(ApiError, match="Error response from daemon: container is paused"):
        async with Client(Endpoint(f"unix://{tmp_path}/s")) as client:
            await open_stream(client, "/exec/e1/start", {})
    server.close()
    with pytest.raises(CannotConnect):
        async with Client(Endpoint(f"unix://{tmp_path}/none")) as client:
            await open_stream(client, "/exec/e1/start", {})


async def test_an_output_that_is_cut_off_ends() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"\1\0\0\0\0\0\0\4out\n" + b"\1\0\0")
    reader.feed_eof()
    assert [frame async for frame in frames(reader)] == [(1, b"out\n")]

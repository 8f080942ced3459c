"""Half-close over TLS: an end that is done, an end that still reads, and a connection that was cut."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from common.wire.channel import Channel, open_raw
from common.wire.client import dial_stream
from common.wire.server import Server, serve
from tests.fakes.certificates import Pki

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Far:
    """The manager's end of one stream: `act` gets its reader and writer."""

    def __init__(self) -> None:
        self.act: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self, channel: Channel) -> None:
        await channel.receive()
        reader, writer = open_raw(channel)
        try:
            await self.act(reader, writer)
            self.done.set_result(None)
        except OSError as error:
            self.done.set_exception(error)
        finally:
            writer.close()


@pytest.fixture
async def far() -> Far:
    return Far()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
async def server(pki: Pki, far: Far) -> AsyncIterator[Server]:
    async with await serve("127.0.0.1", 0, pki.server(), far) as server:
        yield server


async def dial(pki: Pki, server: Server) -> Ends:
    channel = await dial_stream("127.0.0.1", server.port, pki.worker(), "s1")
    return open_raw(channel)


async def test_an_end_that_is_done_still_reads(pki: Pki, server: Server, far: Far) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        assert reader.at_eof()
        writer.write(everything.upper())
        writer.write(b"!" * 100_000)
        writer.write_eof()
        await writer.drain()

    far.act = act
    reader, writer = await dial(pki, server)
    assert writer.can_write_eof()
    writer.write(b"all ")
    writer.write(b"i say" * 50_000)
    writer.write_eof()
    assert await reader.read() == b"ALL " + b"I SAY" * 50_000 + b"!" * 100_000
    await far.done
    writer.close()
    await writer.wait_closed()


async def test_a_connection_that_is_cut_is_no_end(pki: Pki, server: Server, far: Far) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.transport.abort()

    far.act = act
    reader, writer = await dial(pki, server)
    writer.write(b"half")
    with pytest.raises(ConnectionError):
        await reader.read()
    writer.close()


async def test_a_close_is_an_end(pki: Pki, server: Server, far: Far) -> None:
    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    far.act = act
    reader, writer = await dial(pki, server)
    assert await reader.read() == b"bye"
    writer.close()
    await writer.wait_closed()


async def test_a_reader_that_waits_holds_back_the_writer(pki: Pki, server: Server, far: Far) -> None:
    """What is on the way is bounded: the writer's `drain` waits until the far end reads on."""
    read_on = asyncio.Event()

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_on.wait()
        assert len(await reader.read()) == 32 * 1024 * 1024

    far.act = act
    _, writer = await dial(pki, server)
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(512):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536
        writer.write_eof()

    sending = asyncio.create_task(send())
    before = -1
    while sent > before:
        before = sent
        await asyncio.wait({sending}, timeout=0.1)
    assert not sending.done()
    assert sent < 16 * 1024 * 1024
    read_on.set()
    await sending
    await far.done
    writer.close()


@pytest.mark.parametrize("size", [1, 3, 4, 5, 7])
async def test_chunks_in_any_pieces(size: int) -> None:
    """However the bytes are cut on their way, the protocol gets the same."""
    from common.wire.frames import ChunkTransport

    class Lower(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.closed = False

        def close(self) -> None:
            self.closed = True

        def write(self, data: object) -> None: ...

        def is_closing(self) -> bool:
            return self.closed

    reader = asyncio.StreamReader()
    transport = ChunkTransport(Lower(), protocol := asyncio.StreamReaderProtocol(reader))
    protocol.connection_made(transport)
    wire = b"\0\0\0\x05hello" + b"\0\0\0\x01 " + b"\0\0\0\x05world" + b"\0\0\0\0"
    for start in range(0, len(wire), size):
        transport.data_received(wire[start : start + size])
    assert await reader.read() == b"hello world"
    assert not transport.is_closing()
    transport.close()

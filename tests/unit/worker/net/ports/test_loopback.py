"""Published TCP ports at ::1 are carried to 127.0.0.1."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from worker.net.ports.loopback import LoopbackRelay

BODY = b"x" * 300_000


@asynccontextmanager
async def relaying(port: int) -> AsyncIterator[Callable[[], None]]:
    """Carry what comes to a port of ::1 while the block runs, or until what this yields is called."""
    relay = LoopbackRelay()
    bound = socket.socket(socket.AF_INET6)
    bound.bind(("::1", port))
    relay.serve(bound, ("127.0.0.1", port))
    running = asyncio.create_task(relay.run())
    await asyncio.sleep(0)  # it begins to

    def end() -> None:
        relay.forget(bound)
        bound.close()

    try:
        yield end
    finally:
        end()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_both_directions_are_carried_to_their_ends():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(-1))  # which ends when the client says that it has sent all
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with relaying(port):
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(BODY)
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(-1), 5) == BODY
            writer.close()


async def test_a_client_is_reset_where_nobody_is():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    async with relaying(port):
        reader, writer = await asyncio.open_connection("::1", port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 5)
        writer.close()


async def test_a_client_is_reset_when_the_server_resets():
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with relaying(port):
            reader, writer = await asyncio.open_connection("::1", port)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(-1), 5)
            writer.close()


async def test_a_forgotten_socket_refuses_and_open_connections_go_on():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with relaying(port) as end:
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(b"one")
            assert await asyncio.wait_for(reader.readexactly(3), 5) == b"one"
            end()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("::1", port)
            writer.write(b"two")
            assert await asyncio.wait_for(reader.readexactly(3), 5) == b"two"
            writer.close()

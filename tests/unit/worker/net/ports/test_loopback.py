"""Published TCP ports at ::1 are carried to 127.0.0.1."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from tests.fakes.ports import free_port
from worker.net.ports import loopback
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


async def check_reset(port: int) -> None:
    """Check that a client of [::1]:`port` is reset."""
    async with relaying(port):
        reader, writer = await asyncio.open_connection("::1", port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 5)
        writer.close()


async def test_a_client_is_reset_where_nobody_is():
    await check_reset(free_port())


async def test_a_client_is_reset_when_the_server_resets():
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await check_reset(port)


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


class Echo(asyncio.DatagramProtocol):
    """A server that answers with the port of who sent, and what."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(b"%d %s" % (address[1], data), address)


@asynccontextmanager
async def server(port: int = 0) -> AsyncIterator[int]:
    """Serve at a port of 127.0.0.1, which is yielded."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", port))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@asynccontextmanager
async def relaying_datagrams(port: int) -> AsyncIterator[None]:
    relay = LoopbackRelay()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(("::", port))
        relay.serve(bound, ("127.0.0.1", port))
        running = asyncio.create_task(relay.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            relay.forget(bound)


@contextmanager
def client(port: int) -> Iterator[socket.socket]:
    """A socket that hears the address that it asks and no other."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as found:
        found.setblocking(False)
        found.connect(("::1", port))
        yield found


async def ask(asking: socket.socket, data: bytes = b"x", patience: float = 5) -> tuple[int, bytes]:
    """Send; return the port that the server saw, and what came back."""
    asking.send(data)
    answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(asking, 1 << 16), patience)
    seen, _, echoed = answer.partition(b" ")
    return int(seen), echoed


async def test_every_client_has_a_way_of_its_own_and_keeps_it():
    async with server() as port, relaying_datagrams(port):
        with client(port) as one, client(port) as other:
            first, echoed = await ask(one, b"o" * 20_000)
            assert echoed == b"o" * 20_000
            assert (await ask(one))[0] == first
            assert (await ask(other, b"two"))[1] == b"two"
            assert (await ask(other))[0] != first


async def test_with_too_many_clients_the_most_silent_one_makes_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loopback, "MOST_CLIENTS", 2)
    async with server() as port, relaying_datagrams(port):
        with client(port) as one, client(port) as other, client(port) as third:
            (first, _), (second, _) = await ask(one), await ask(other)
            assert (await ask(one))[0] == first
            await ask(third)
            assert (await ask(one))[0] == first
            assert (await ask(other))[0] != second


async def test_a_client_is_forgotten_when_it_was_silent_for_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loopback, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(loopback, "LOOK_SECONDS", 0.01)
    async with server() as port, relaying_datagrams(port):
        with client(port) as one:
            first, _ = await ask(one)
            assert (await ask(one))[0] == first
            async with asyncio.timeout(5):
                while (await ask(one))[0] == first:
                    await asyncio.sleep(0.1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may send ICMPv6")
async def test_a_client_hears_of_absence_and_later_datagrams_arrive():
    async with server() as port:
        pass
    async with relaying_datagrams(port):
        with client(port) as one, client(port) as other:
            for _ in range(2):
                with pytest.raises(ConnectionRefusedError):
                    await ask(one)
            async with server(port):
                assert (await ask(one, b"there"))[1] == b"there"
                assert (await ask(other, b"too"))[1] == b"too"

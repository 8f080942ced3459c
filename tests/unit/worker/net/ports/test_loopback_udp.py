"""Published UDP ports at ::1 are carried to 127.0.0.1, and the answers back."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from worker.net.ports import loopback_udp
from worker.net.ports.loopback import LoopbackRelay


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
async def relaying(port: int) -> AsyncIterator[None]:
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
    async with server() as port, relaying(port):
        with client(port) as one, client(port) as other:
            first, echoed = await ask(one, b"o" * 20_000)
            assert echoed == b"o" * 20_000
            assert (await ask(one))[0] == first
            assert (await ask(other, b"two"))[1] == b"two"
            assert (await ask(other))[0] != first


async def test_with_too_many_clients_the_most_silent_one_makes_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loopback_udp, "MOST_CLIENTS", 2)
    async with server() as port, relaying(port):
        with client(port) as one, client(port) as other, client(port) as third:
            (first, _), (second, _) = await ask(one), await ask(other)
            assert (await ask(one))[0] == first
            await ask(third)
            assert (await ask(one))[0] == first
            assert (await ask(other))[0] != second


async def test_a_client_is_forgotten_when_it_was_silent_for_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loopback_udp, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(loopback_udp, "LOOK_SECONDS", 0.01)
    async with server() as port, relaying(port):
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
    async with relaying(port):
        with client(port) as one, client(port) as other:
            for _ in range(2):
                with pytest.raises(ConnectionRefusedError):
                    await ask(one)
            async with server(port):
                assert (await ask(one, b"there"))[1] == b"there"
                assert (await ask(other, b"too"))[1] == b"too"

"""Streams to workers, over TLS, with a real HTTP server in the engine's place."""

import asyncio
import contextlib
import io
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from common.errors import Unavailable
from common.model.node import NodeDescription
from common.tls import ROLE_WORKER, Identity, client_context
from common.wire.channel import Channel, PeerInfo, open_raw
from common.wire.client import dial_stream, open_session
from common.wire.memory import memory_channel_pair
from common.wire.messages import PROTOCOL_VERSION, Hello, OpenStream, StreamHello
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.streams import Streams
from tests.fakes.certificates import Pki
from tests.fakes.dispatching_tls import served_dispatcher


class Tunnel:
    """A worker that joins every stream to a local HTTP server, or refuses it, or does not answer."""

    def __init__(self, port: int, pki: Pki) -> None:
        self.port = port
        self.context = client_context(pki.files("n1", serial="7"))
        self.intruder = client_context(pki.files("n2", serial="7"))
        self.engine = 0
        self.error = ""
        self.silent = False
        self.as_other_node = False
        self.streams = 0

    async def run(self, ready: asyncio.Event) -> None:
        hello = Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="alpha"))
        channel, _ = await open_session("127.0.0.1", self.port, self.context, hello)
        ready.set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    message = (await channel.receive()).message
                    if isinstance(message, OpenStream) and not self.silent:
                        group.create_task(self.answer(message))
        finally:
            await channel.close()

    async def answer(self, message: OpenStream) -> None:
        assert message.target == "engine"
        context = self.intruder if self.as_other_node else self.context
        channel = await dial_stream("127.0.0.1", self.port, context, message.stream_id, self.error)
        if self.error or self.as_other_node:
            await channel.close()
            return
        self.streams += 1
        here = open_raw(channel)
        there = await asyncio.open_connection("127.0.0.1", self.engine)
        async with asyncio.TaskGroup() as group:
            group.create_task(splice(here[0], there[1]))
            group.create_task(splice(there[0], here[1]))


async def splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


class Setup:
    def __init__(self, dispatcher: Dispatcher, tunnel: Tunnel) -> None:
        self.dispatcher = dispatcher
        self.tunnel = tunnel


@pytest.fixture
async def engine() -> AsyncIterator[int]:
    async def version(request: web.Request) -> web.Response:
        return web.json_response({"Version": "26.1.5", "Path": request.path})

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def logs(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(200):
            await response.write(f"line {number}\n".encode() * 100)
        return response

    app = web.Application(client_max_size=2**26)
    app.add_routes([web.get("/version", version), web.post("/echo", echo), web.get("/logs", logs)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def setup(tmp_path: Path, engine: int) -> AsyncIterator[Setup]:
    pki = Pki(tmp_path)
    async with served_dispatcher(pki) as (dispatcher, server):
        tunnel = Tunnel(server.port, pki)
        tunnel.engine = engine
        ready = asyncio.Event()
        worker = asyncio.create_task(tunnel.run(ready))
        await ready.wait()
        yield Setup(dispatcher, tunnel)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def test_http_reaches_the_nodes_engine_and_keeps_its_connection(setup: Setup) -> None:
    async with aiohttp.ClientSession(connector=setup.dispatcher.engine_connector("n1")) as session:
        for _ in range(3):
            async with session.get("http://engine/version") as response:
                assert await response.json() == {"Version": "26.1.5", "Path": "/version"}
        body = bytes(range(256)) * 20_000
        async with session.post("http://engine/echo", data=io.BytesIO(body)) as response:
            assert await response.read() == body
    assert setup.tunnel.streams == 1


async def test_long_answers_and_many_at_once(setup: Setup) -> None:
    async with aiohttp.ClientSession(connector=setup.dispatcher.engine_connector("n1")) as session:

        async def logs() -> int:
            async with session.get("http://engine/logs") as response:
                return len(await response.read())

        sizes = await asyncio.gather(*(logs() for _ in range(10)))
    assert set(sizes) == {sum(len(f"line {n}\n") for n in range(200)) * 100}


async def test_a_plain_stream_is_a_reader_and_a_writer(setup: Setup) -> None:
    reader, writer = await setup.dispatcher.open_stream("n1", "engine")
    writer.write(b"GET /version HTTP/1.0\r\n\r\n")
    assert b'"Version": "26.1.5"' in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_node_that_is_not_connected_is_named(setup: Setup) -> None:
    with pytest.raises(Unavailable, match=r"node .*n2.* is not connected"):
        await setup.dispatcher.open_stream("n2", "engine")
    async with aiohttp.ClientSession(connector=setup.dispatcher.engine_connector("n2")) as session:
        with pytest.raises(Unavailable, match="n2"):
            await session.get("http://engine/version")


async def test_a_stream_waits_for_a_node_that_is_coming_back(tmp_path: Path, engine: int) -> None:
    """As all nodes are to a manager that has just started, and one is whose worker has just been restarted."""
    pki = Pki(tmp_path)
    async with served_dispatcher(pki, "ready") as (dispatcher, server):
        tunnel = Tunnel(server.port, pki)
        tunnel.engine = engine
        for _ in range(2):
            asked = asyncio.create_task(dispatcher.open_stream("n1", "engine"))
            await asyncio.wait([asked], timeout=0.05)
            assert not asked.done()
            worker = asyncio.create_task(tunnel.run(asyncio.Event()))
            async with asyncio.timeout(10):
                reader, writer = await asked
                writer.write(b"GET /version HTTP/1.0\r\n\r\n")
                assert b'"Version": "26.1.5"' in await reader.read()
                writer.close()
                await writer.wait_closed()
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)
                while dispatcher.connected:
                    await asyncio.sleep(0.01)


async def test_what_the_worker_gives_as_the_reason_is_passed_on(setup: Setup) -> None:
    setup.tunnel.error = "the engine does not answer on /var/run/docker.sock"
    with pytest.raises(Unavailable, match="node n1: the engine does not answer"):
        await setup.dispatcher.open_stream("n1", "engine")


async def test_a_worker_that_does_not_answer_is_given_up_on(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.dispatch.streams.STREAM_TIMEOUT", 0.1)
    setup.tunnel.silent = True
    with pytest.raises(Unavailable, match="node n1 did not open a stream to its engine"):
        await setup.dispatcher.open_stream("n1", "engine")
    assert not setup.dispatcher._streams._pending


async def test_a_stream_that_comes_when_it_is_wanted_no_more_is_closed() -> None:
    """The one who asked for it is cancelled in the very turn of the loop in which it comes."""
    streams = Streams(random.Random(1))
    asked: asyncio.Future[OpenStream] = asyncio.get_running_loop().create_future()
    taken: list[Channel] = []

    async def send(message: OpenStream) -> None:
        asked.set_result(message)

    opening = asyncio.create_task(streams.open("n1", "engine", send, taken.append))
    hello = StreamHello(stream_id=(await asked).stream_id)
    _, far = memory_channel_pair(client=PeerInfo(Identity("n1", ROLE_WORKER, "c")))
    arriving = asyncio.ensure_future(streams.arrived(far, hello, lambda: None))
    await asyncio.sleep(0)
    opening.cancel()
    async with asyncio.timeout(1):
        await arriving
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert taken == []  # so its channel is still the connection's to close


async def test_a_node_cannot_take_anothers_stream(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.dispatch.streams.STREAM_TIMEOUT", 0.5)
    setup.tunnel.as_other_node = True
    with pytest.raises(Unavailable, match="did not open a stream"):
        await setup.dispatcher.open_stream("n1", "engine")


async def test_a_stream_that_nobody_asked_for_is_closed(setup: Setup) -> None:
    channel: Channel = await dial_stream("127.0.0.1", setup.tunnel.port, setup.tunnel.context, "guess")
    reader, writer = open_raw(channel)
    answer = await reader.read()
    assert b"was not requested" in answer
    writer.close()

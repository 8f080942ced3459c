"""A manager that hangs is given up, and one that only takes its time is not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from manager.cli import client as patience
from manager.cli.client import Client
from manager.cli.container.streams import open_stream
from manager.cli.endpoint import Endpoint
from manager.cli.failures import CannotConnect
from tests.fakes.manager_socket import client_of

HUNG = r"takes connections, but has not answered for \S+ s.*\n.*systemctl restart swarm-manager"


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SILENT_SECONDS", "PING_SECONDS"):
        monkeypatch.setattr(patience, name, 0.05)


class Manager:
    """A manager that answers once it was pinged three times.

    `pings` are those that it has answered, `pings_before` those before it began to answer with a stream.
    """

    def __init__(self) -> None:
        self.pings = self.pings_before = 0
        self.enough = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/_ping":
            self.pings += 1
            if self.pings >= 3:
                self.enough.set()
            return web.Response(text="OK")
        if request.path == "/events":
            response = web.StreamResponse()
            self.pings_before = self.pings
            await response.prepare(request)
            await asyncio.sleep(0.5)  # longer than several silences and pings
            await response.write(b"event\n")
            return response
        if request.method == "PUT":
            async for _ in request.content.iter_any():
                self.enough.clear()
        await self.enough.wait()  # for as long as it takes to be asked three times whether it lives
        return web.json_response({})


@asynccontextmanager
async def hung(tmp_path: Path) -> AsyncIterator[Client]:
    """Take connections, and nothing else."""
    writers = []

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    async with await asyncio.start_unix_server(take, tmp_path / "socket"):
        async with Client(Endpoint(f"unix://{tmp_path}/socket")) as client:
            yield client
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[tuple[Manager, Client]]:
    manager = Manager()
    async with client_of(manager.handle, tmp_path) as client:
        yield manager, client


async def test_every_kind_of_request_gives_up_on_a_hung_manager(tmp_path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"archive"

    async with hung(tmp_path) as client:
        with pytest.raises(CannotConnect, match=HUNG):
            await client.get("/nodes")
        with pytest.raises(CannotConnect, match=HUNG):
            async with client.stream("/events"):
                raise AssertionError("it has not answered")
        with pytest.raises(CannotConnect, match=HUNG):
            async with client.upload("/images/load", body(), (), headers={}):
                raise AssertionError("it has not answered")
        with pytest.raises(CannotConnect, match=HUNG):
            await open_stream(client, "/exec/1/start", {})


async def test_a_slow_answer_is_awaited_while_pings_are_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as (manager, client):
        assert await client.post("/containers/web/stop") == {}
        assert manager.pings >= 3


async def test_a_stream_that_has_begun_may_be_silent(tmp_path: Path) -> None:
    async with running(tmp_path) as (manager, client), client.stream("/events") as lines:
        assert await lines.readline() == b"event\n"
        assert manager.pings - manager.pings_before <= 1  # one may have been under way when it began


async def test_a_body_that_is_taken_bit_by_bit_is_a_sign_of_life(tmp_path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    async with running(tmp_path) as (manager, client):
        async with client.upload("/images/load", body(), (), headers={}, method="PUT") as answer:
            assert await answer.read() == b"{}"
        assert manager.pings >= 3

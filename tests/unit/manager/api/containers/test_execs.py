"""A terminal in a browser: a WebSocket on a program in a container."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from common.model.client import Role
from manager.api.containers import execs
from manager.api.http.server import serve
from tests.fakes.api_cluster import WORKER1, ApiCluster
from tests.fakes.container_engine import Engines

EXEC = "ab" * 32
BOX = "cd" * 32


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[Engines]:
    async with Engines(cluster) as engines:
        cluster.api.context.containers.put(EXEC, WORKER1)
        shown = {"ID": EXEC, "ContainerID": BOX, "ProcessConfig": {"tty": True}}
        engines.one.answers[f"GET /exec/{EXEC}/json"] = (200, shown)
        engines.one.answers[f"POST /exec/{EXEC}/resize"] = (200, {})
        yield engines


@pytest.fixture
async def session(cluster: ApiCluster) -> AsyncIterator[aiohttp.ClientSession]:
    path = cluster.folder / "docker.sock"
    async with (
        serve(cluster.api, [f"unix://{path}"]),
        aiohttp.ClientSession("http://docker", connector=aiohttp.UnixConnector(str(path))) as session,
    ):
        yield session


async def shell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say each line again, until one says `exit`."""
    writer.write(b"$ ")
    while (line := await reader.readline()) not in (b"", b"exit\n"):
        writer.write(b"said " + line)


async def test_what_is_typed_and_said_goes_both_ways(
    engines: Engines, session: aiohttp.ClientSession, cluster: ApiCluster
) -> None:
    engines.one.talk = shell
    async with session.ws_connect(f"/exec/{EXEC}/ws", protocols=(execs.PROTOCOL, "key.x")) as socket:
        assert socket.protocol == execs.PROTOCOL
        assert await socket.receive_bytes() == b"$ "
        await socket.send_bytes(b"ls\n")
        assert await socket.receive_bytes() == b"said ls\n"
        await socket.send_bytes(b"exit\n")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1000
    started = next(each for each in engines.one.requests if each.path == f"/exec/{EXEC}/start")
    assert (started.method, started.body) == ("POST", b'{"Detach":false,"Tty":true}')
    assert (cluster.audited[-1].path, cluster.audited[-1].status) == (f"/exec/{EXEC}/ws", 101)


async def test_its_size_is_told_to_the_engine(engines: Engines, session: aiohttp.ClientSession) -> None:
    engines.one.talk = shell
    async with session.ws_connect(f"/exec/{EXEC}/ws") as socket:
        for text in ('{"resize": [132, 43]}', "nonsense", '{"resize": [0, 1]}', '{"resize": [1, 100000]}'):
            await socket.send_str(text)
        await socket.send_bytes(b"done\n")
        while b"done" not in await socket.receive_bytes():
            pass
    sizes = [each.query for each in engines.one.requests if each.path == f"/exec/{EXEC}/resize"]
    assert sizes == [{"w": "132", "h": "43"}]


async def test_a_flood_is_read_no_faster_than_it_is_taken(engines: Engines, session: aiohttp.ClientSession) -> None:
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"y\n" * 32768)
                await writer.drain()
                sent += 65536

    engines.one.talk = flood
    async with session.ws_connect(f"/exec/{EXEC}/ws", max_msg_size=0) as socket:
        await socket.receive_bytes()
        before = -1
        while before != sent:  # until nothing more is taken of it
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 8 * 1024 * 1024


async def test_who_types_nothing_is_let_go(
    engines: Engines, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execs, "IDLE_SECONDS", 0.05)
    engines.one.talk = shell
    async with session.ws_connect(f"/exec/{EXEC}/ws") as socket:
        while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert (socket.close_code, "nobody has typed" in message.extra) == (1001, True)


async def refused(session: aiohttp.ClientSession, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    asked = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    async with session.get(path, headers={**asked, **key, **(headers or {})}) as answer:
        return answer.status, (await answer.json())["message"]


async def test_what_cannot_be_one_is_refused(engines: Engines, session: aiohttp.ClientSession) -> None:
    assert (await refused(session, f"/exec/{'ef' * 32}/ws"))[0] == 404
    async with session.get(f"/exec/{EXEC}/ws") as answer:
        assert answer.status == 400
    shown = {"ID": EXEC, "ContainerID": BOX, "ProcessConfig": {"tty": False}}
    engines.one.answers[f"GET /exec/{EXEC}/json"] = (200, shown)
    status, message = await refused(session, f"/exec/{EXEC}/ws")
    assert (status, "has no terminal" in message) == (400, True)


async def test_what_the_engine_refuses_is_said(engines: Engines, session: aiohttp.ClientSession) -> None:
    engines.one.answers[f"POST /exec/{EXEC}/start"] = (409, {"message": "container is not running"})
    assert await refused(session, f"/exec/{EXEC}/ws") == (409, "container is not running")


async def test_a_viewer_and_another_site_have_none(engines: Engines, session: aiohttp.ClientSession) -> None:
    assert Role.OPERATOR is execs.ROUTES[0].needs
    assert (await refused(session, f"/exec/{EXEC}/ws", {"Swarm-Role": "viewer"}))[0] == 403
    assert (await refused(session, f"/exec/{EXEC}/ws", {"Origin": "https://evil.example"}))[0] == 403
    assert [each for each in engines.one.requests if each.path.endswith("/start")] == []


async def test_where_terminals_are_switched_off_there_is_none(
    engines: Engines, session: aiohttp.ClientSession, cluster: ApiCluster
) -> None:
    spec = cluster.store.view.cluster.spec
    labels = {**spec.labels, "swarm.x.dashboard-terminal": "off"}
    off = msgspec.structs.replace(cluster.store.view.cluster, spec=msgspec.structs.replace(spec, labels=labels))
    await cluster.store.update(lambda tx: tx.put(off))
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await session.ws_connect(f"/exec/{EXEC}/ws", protocols=(execs.PROTOCOL,))
    assert engines.one.requests == []
    async with session.get("/swarm/caller") as answer:
        assert (await answer.json())["Terminals"] is False

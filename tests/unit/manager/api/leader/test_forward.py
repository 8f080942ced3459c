"""Requests that the leader answers: what it is sent, and what its client sees of the answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from common.errors import Unavailable
from manager.api.access.roles import Caller
from manager.api.call import Call
from manager.api.engine.connections import Duplex
from manager.api.leader.forward import forward
from manager.api.leader.quorum import SingleManager
from manager.api.logs.stream import MULTIPLEXED, Frame, FrameReader

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Follower(SingleManager):
    """A manager that follows; the leader is at a socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.waited_for = 0

    async def connect(self, caller: Caller) -> Duplex:
        assert caller.name == "uid 7"
        return await asyncio.open_unix_connection(str(self._socket))

    async def reached(self, index: int) -> None:
        self.waited_for = index


class Client:
    """The client's end: a body in pieces, and all that it is sent."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.received = b""

    @property
    def has_body(self) -> bool:
        return bool(self._pieces)

    async def body(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers

    async def send(self, data: bytes) -> None:
        self.received += data

    async def take_over(self, head: bytes) -> Duplex:
        raise AssertionError(head)


@asynccontextmanager
async def leader(handle: Handler, folder: Path) -> AsyncIterator[Follower]:
    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(folder / "socket")).start()
        yield Follower(folder / "socket")
    finally:
        await runner.cleanup()


def call(method: str = "POST", **headers: str) -> Call:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    target = "/v1.43/services/create?a=%2F"
    return Call(method, "/services/create", headers=named, target=target, caller=Caller("uid 7", "unix"))


@pytest.mark.parametrize("length", [{"content_length": "11"}, {}], ids=["of a length", "in chunks"])
async def test_a_request_goes_whole_and_its_answer_comes_back(tmp_path: Path, length: Any) -> None:
    seen: dict[str, Any] = {}

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.update(line=request.raw_path, auth=request.headers.get("X-Registry-Auth"), body=await request.read())
        return web.json_response({"ID": "x"}, status=201, headers={"Swarm-Index": "42", "Api-Version": "1.51"})

    async with leader(handle, tmp_path) as follower:
        client = Client(b"hello ", b"world")
        await forward(follower, call(x_registry_auth="s3cret", connection="keep-alive", **length)).run(client)
    assert seen == {"line": "/v1.43/services/create?a=%2F", "auth": "s3cret", "body": b"hello world"}
    assert (client.status, client.received, client.headers["Content-Length"]) == (201, b'{"ID": "x"}', "11")
    assert follower.waited_for == 42, "its client may read here what it has just changed"
    assert {"Swarm-Index", "Connection", "Server"}.isdisjoint(client.headers)


async def test_an_answer_without_a_length_streams(tmp_path: Path) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in (b"one\n", b"two\n"):
            await response.write(line)
        return response

    async with leader(handle, tmp_path) as follower:
        client = Client()
        await forward(follower, call("GET")).run(client)
    assert client.received == b"one\ntwo\n"


async def test_an_answer_to_head_is_no_stream(tmp_path: Path) -> None:
    """Else its client could go on over the leader's connection, with requests that no audit log has."""
    asked: list[str] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.method)
        response = web.StreamResponse(headers={"X-Docker-Container-Path-Stat": "e30="})
        await response.prepare(request)
        return response

    async with leader(handle, tmp_path) as follower:
        client = Client()
        await forward(follower, call("HEAD")).run(client)
    assert asked == ["HEAD"]
    assert (client.status, client.received) == (200, b"")
    assert client.headers["X-Docker-Container-Path-Stat"] == "e30="


async def test_a_leader_lost_before_it_answers_leaves_that_open(tmp_path: Path) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with leader(handle, tmp_path) as follower:
        client = Client(b"{}")
        with pytest.raises(Unavailable, match="may or may not have been done: look, then repeat it"):
            await forward(follower, call(content_length="2")).run(client)
    assert client.status == 0


async def test_an_answer_that_is_cut_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"a part")
        assert request.transport is not None
        request.transport.close()
        return response

    async with leader(handle, tmp_path) as follower:
        client = Client()
        with pytest.raises(Unavailable, match="the leader was lost in the middle of its answer"):
            await forward(follower, call("GET")).run(client)
    assert client.received == b"a part"


async def test_a_log_whose_leader_was_lost_says_so_last(tmp_path: Path) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": MULTIPLEXED})
        await response.prepare(request)
        await response.write(Frame(1, b"tick\n").encode())
        assert request.transport is not None
        request.transport.abort()
        return response

    async with leader(handle, tmp_path) as follower:
        client = Client()
        with pytest.raises(Unavailable):
            await forward(follower, call("GET")).run(client)
    assert [frame.payload for frame in FrameReader().feed(client.received)][-1].startswith(b"warning: the leader was")


async def test_a_leader_that_leads_no_more_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.api.leader.forward._GRACE_SECONDS", 0.0)
    asked, ended = asyncio.Event(), asyncio.Event()

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await ended.wait()
        return web.Response()

    async with leader(handle, tmp_path) as follower:
        monkeypatch.setattr(follower, "leader_lost", asked.wait)
        with pytest.raises(Unavailable, match="may or may not have been done"):
            await forward(follower, call(content_length="2")).run(Client(b"{}"))
        ended.set()

"""The engine's driver, against an engine that misbehaves; what real ones do is the e2e tests' subject."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from common.errors import InvalidArgument
from worker.engine import driver
from worker.engine.driver import DockerEngine
from worker.interfaces.engine import ContainerEvent, EngineConnected, EngineDown, EngineEvent, EngineLost

START = json.dumps({"timeNano": 1, "Action": "start", "Actor": {"ID": "c1"}}) + "\n"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def version(_: web.Request) -> web.Response:
    return web.json_response({"ApiVersion": "1.43", "MinAPIVersion": "1.12"})


@asynccontextmanager
async def answering(folder: Path, handler: Handler, says_version: Handler = version) -> AsyncIterator[DockerEngine]:
    """Drive an engine that answers all but the question for its version by `handler`."""
    app = web.Application()
    app.router.add_get("/version", says_version)
    app.router.add_route("*", "/v1.43/{path:.*}", handler)
    app.router.add_get("/_ping", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.UnixSite(runner, str(folder / "docker.sock")).start()
    engine = DockerEngine(f"unix://{folder / 'docker.sock'}", random.Random(1))
    try:
        yield engine
    finally:
        await engine.close()
        await runner.cleanup()


@pytest.mark.parametrize(("status", "body"), [(503, "starting"), (200, "{cut off\n")])
async def test_events_go_on_after_an_answer_that_makes_no_sense(tmp_path: Path, status: int, body: str) -> None:
    answers = [(status, body), (200, START)]

    async def events(_: web.Request) -> web.Response:
        status, text = answers.pop(0)
        return web.Response(status=status, text=text)

    heard = []
    async with asyncio.timeout(10), answering(tmp_path, events) as engine, aclosing(engine.events({})) as stream:
        async for event in stream:
            heard.append(event)
            if isinstance(event, ContainerEvent):
                break
    assert [type(event) for event in heard[-3:-1]] == [EngineLost, EngineConnected]


async def test_an_engine_that_is_away_for_long_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = DockerEngine(f"unix://{tmp_path / 'docker.sock'}", random.Random(1))
    async with asyncio.timeout(10), aclosing(engine.events({})) as stream:
        for _ in range(3):
            assert "No such file" in lost(await anext(stream))
    await engine.close()
    assert caplog.text.count("no Docker engine answers") == 1


async def test_an_engine_that_is_away_is_told_in_the_systems_words(tmp_path: Path) -> None:
    socket = tmp_path / "docker.sock"
    engine = DockerEngine(f"unix://{socket}", random.Random(1))
    for call in (engine.info(), engine.create("a", {}), engine.pull("web:1", ""), engine.inspect("a")):
        with pytest.raises(EngineDown) as caught:
            await call
        assert caught.value.message == f"no Docker engine answers at unix://{socket}: No such file or directory"
    await engine.close()


def lost(event: EngineEvent) -> str:
    assert isinstance(event, EngineLost)
    return event.why


TWO_NETWORKS = {"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {"Aliases": ["x"]}}}}


async def test_what_waits_for_drivers_has_longer_than_other_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "CALL_SECONDS", 0.1)
    asked: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.path_qs, await request.json() if request.can_read_body else None))
        await asyncio.sleep(0.3)
        return web.json_response({"Id": "c1"}, status=201)

    async with answering(tmp_path, answer) as engine:
        assert await engine.create("web.1", TWO_NETWORKS) == "c1"
        await engine.start("c1")
        await engine.remove("c1")
    first = {"NetworkingConfig": {"EndpointsConfig": {"a": {}}}}
    assert asked == [
        ("/v1.43/containers/create?name=web.1", first),
        ("/v1.43/networks/b/connect", {"Container": "c1", "EndpointConfig": {"Aliases": ["x"]}}),
        ("/v1.43/containers/c1/start", None),
        ("/v1.43/containers/c1?force=1&v=1", None),
    ]


@pytest.mark.parametrize("host", ["docker.sock", "tcp://engine", "tcp://engine:x", "http://127.0.0.1:2375"])
async def test_what_is_no_engines_address_is_said(host: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a Docker host: write unix:///"):
        DockerEngine(host, random.Random(1))


HOSTILE_NAMES = [
    "../containers/json?all=1",
    "x/../../info",
    "x?force=1",
    "x#y",
    "x y",
    "x\r\nHost: y",
    "x%2F..",
    "",
    "..",
    "é",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_no_name_leads_a_request_elsewhere(tmp_path: Path, name: str):
    async def never(request: web.Request) -> web.Response:
        raise AssertionError(f"the engine was asked {request.method} {request.raw_path}")

    async with answering(tmp_path, never) as engine:
        calls = (
            engine.image(name),
            engine.remove_image(name),
            engine.inspect(name),
            engine.start(name),
            engine.stop(name, 1),
            engine.signal(name, "HUP"),
            engine.remove(name),
            engine.last_logs(name, 1),
            engine.usage(name),
            engine.remove_network(name),
            engine.empty_network(name),
            anext(engine.save(name)),
        )
        for call in calls:
            with pytest.raises(InvalidArgument, match="is not a name of the engine's"):
                await call


async def test_names_that_engines_have_reach_them_as_they_are(tmp_path: Path):
    asked = []

    async def absent(request: web.Request) -> web.Response:
        asked.append(request.raw_path.removeprefix("/v1.43/"))
        return web.json_response({"message": "no such thing"}, status=404)

    names = ["registry.example.com:5000/a/b_c:v1.0-x+y", "web@sha256:" + "a" * 64, "sha256:" + "b" * 64]
    async with answering(tmp_path, absent) as engine:
        assert [await engine.image(name) for name in names] == [None] * 3
        assert await engine.inspect("web.1.0a9z") is None
    assert asked == [*(f"images/{name}/json" for name in names), "containers/web.1.0a9z/json"]


async def test_a_volume_that_is_not_there_is_removed(tmp_path: Path) -> None:
    asked = []

    async def remove(request: web.Request) -> web.Response:
        asked.append((request.method, request.path))
        return web.json_response({"message": "no such volume"}, status=404)

    async with answering(tmp_path, remove) as engine:
        await engine.remove_volume("data")
    assert asked == [("DELETE", "/v1.43/volumes/data")]

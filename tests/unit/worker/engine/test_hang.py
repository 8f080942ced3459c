"""An engine that hangs is lost, and is back when it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.unit.worker.engine.test_driver import answering, lost, version
from worker.engine import driver
from worker.engine import hang as engine_hang
from worker.engine.driver import DockerEngine
from worker.interfaces.engine import EngineConnected, EngineSilent

CHANGES = ("create", "start", "stop", "remove")


class Hanging:
    """An engine whose events and calls are silent; it answers pings until it `hangs`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_hang, "SILENT_SECONDS", 0.02)
        self.hangs = asyncio.Event()
        self.pinged = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/_ping":
            self.pinged.set()
            return web.Response(text="OK") if not self.hangs.is_set() else await self.never()
        if request.method == "GET":
            await web.StreamResponse().prepare(request)
        return await self.never()

    async def never(self) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def test_a_hung_engine_is_lost_and_there_again_when_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = Hanging(monkeypatch)
    async with asyncio.timeout(10), answering(tmp_path, hung.answer) as engine, aclosing(engine.events({})) as stream:
        assert await anext(stream) == EngineConnected()
        following = asyncio.ensure_future(anext(stream))
        await hung.pinged.wait()
        hung.pinged.clear()
        await hung.pinged.wait()
        assert not following.done()  # it was silent for long, and answered
        monkeypatch.setattr(engine._hanging.pulse, "patience", 0.05)  # from the next ping on
        hung.hangs.set()
        assert "hangs: it has not answered for 0.07 s" in lost(await following)
        hung.hangs.clear()
        assert await anext(stream) == EngineConnected()


@pytest.mark.parametrize("name", CHANGES)
async def test_an_engine_whose_containerd_hangs_is_lost_despite_pings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It takes a change, never does it, and does not say its version; one that says it may take its time."""
    monkeypatch.setattr(engine_hang, "STUCK_SECONDS", 0.02)
    hung = Hanging(monkeypatch)
    asked, hangs = asyncio.Event(), asyncio.Event()

    async def said(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await version(request) if not hangs.is_set() else await hung.never()

    async with (
        asyncio.timeout(10),
        answering(tmp_path, hung.answer, said) as engine,
        aclosing(engine.events({})) as stream,
    ):
        assert await anext(stream) == EngineConnected()
        asked.clear()
        following = asyncio.ensure_future(anext(stream))
        await asyncio.wait({following}, timeout=0.1)
        assert not asked.is_set(), "an idle engine is not asked"
        changing = asyncio.ensure_future(CALLS[name](engine))
        for _ in range(2):
            await asked.wait()
            asked.clear()
        assert not following.done()
        monkeypatch.setattr(engine._hanging.changes, "patience", 0.05)
        hangs.set()
        assert "containerd hangs; nothing was heard of it for 0.05 s" in lost(await following)
        hangs.clear()
        assert await anext(stream) == EngineConnected()
        changing.cancel()


async def test_an_engine_that_answers_calls_is_not_pinged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = Hanging(monkeypatch)
    monkeypatch.setattr(engine_hang, "SILENT_SECONDS", 60.0)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response([]) if request.path.endswith("/json") else await hung.answer(request)

    async with asyncio.timeout(10), answering(tmp_path, answer) as engine:
        await engine.containers({})
        stopped = asyncio.create_task(engine._hanging.pulse.stopped())  # as while the next event is waited for
        await asyncio.wait({stopped}, timeout=0.05)
        stopped.cancel()
    assert not hung.pinged.is_set()


CALLS: dict[str, Callable[[DockerEngine], Awaitable[Any]]] = {
    "create": lambda engine: engine.create("c1", {}),
    "start": lambda engine: engine.start("c1"),
    "stop": lambda engine: engine.stop("c1", 0.0),
    "signal": lambda engine: engine.signal("c1", "SIGHUP"),
    "remove": lambda engine: engine.remove("c1"),
    "inspect": lambda engine: engine.inspect("c1"),
    "containers": lambda engine: engine.containers({}),
    "create_network": lambda engine: engine.create_network({}),
    "remove_network": lambda engine: engine.remove_network("n1"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_an_engine_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for limit in ("CALL_SECONDS", "SLOW_CALL_SECONDS", "STOP_MARGIN_SECONDS"):
        monkeypatch.setattr(driver, limit, 0.05)

    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async with asyncio.timeout(10), answering(tmp_path, hang) as engine:
        does = {"inspect": "show"}.get(name, name)
        waits_long = name in (*CHANGES, "inspect")
        told = f"did not {does} the container within 0.05 s" if waits_long else "did not answer in time"
        with pytest.raises(EngineSilent, match=told):
            await CALLS[name](engine)

"""An engine that hangs is lost, and is back when it answers; one that is away for too long is missed."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.engine.test_driver import answering, lost, version
from worker.engine import driver, liveness
from worker.engine.driver import DockerEngine
from worker.engine.liveness import ENGINE_PATIENCE_SECONDS, EnginePresence
from worker.interfaces.engine import EngineConnected, EngineLost, EngineSilent

CHANGES = ("create", "start", "stop", "remove")


class Hanging:
    """An engine whose events and calls are silent; it answers pings until it `hangs`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(liveness, "SILENT_SECONDS", 0.02)
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
    monkeypatch.setattr(liveness, "STUCK_SECONDS", 0.02)
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
    monkeypatch.setattr(liveness, "SILENT_SECONDS", 60.0)

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


# --- presence ---


def test_nothing_is_known_before_its_first_word() -> None:
    async def story() -> None:
        presence = EnginePresence()
        there, missed = asyncio.ensure_future(presence.there()), asyncio.ensure_future(presence.missed())
        await asyncio.sleep(1000.0)
        assert not there.done()
        assert not missed.done()
        assert not presence.note(EngineConnected()), "it was not away"
        await there
        missed.cancel()

    run_virtual(story())


def test_an_engine_that_stays_away_is_missed() -> None:
    async def story() -> tuple[str, float]:
        presence = EnginePresence()
        presence.note(EngineConnected())
        presence.note(EngineLost("connection refused"))
        await asyncio.sleep(3.0)
        presence.note(EngineLost("no such file"))  # since the first word, for the last reason
        return await presence.missed(), asyncio.get_running_loop().time()

    why, at = run_virtual(story())
    assert why == "its engine cannot be used: no such file"
    assert at == pytest.approx(ENGINE_PATIENCE_SECONDS)


def test_one_that_comes_back_in_time_is_not_missed() -> None:
    async def story() -> None:
        presence = EnginePresence()
        presence.note(EngineLost("restarting"))
        missed = asyncio.ensure_future(presence.missed())
        await asyncio.sleep(ENGINE_PATIENCE_SECONDS - 1)
        assert presence.note(EngineConnected()), "it is back"
        await asyncio.sleep(1000.0)
        assert not missed.done()
        presence.note(EngineLost("again"))
        assert "again" in await missed

    run_virtual(story())

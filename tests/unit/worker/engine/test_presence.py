"""Whether the engine is there, and when it is away for too long."""

import asyncio

import pytest

from tests.fakes.virtual_loop import run_virtual
from worker.engine.presence import ENGINE_PATIENCE_SECONDS, EnginePresence
from worker.interfaces.engine import EngineConnected, EngineLost


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

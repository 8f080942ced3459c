"""Containers are paused by a program of its own, which lets them go on whatever becomes of the agent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.errors import FailedPrecondition, Unavailable
from tests.fakes.pausable_engine import PausableEngine
from worker.volumes import holds as module
from worker.volumes.copy.control import AnyReport, Passed, Taken
from worker.volumes.holds import Holds, held_pass


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[PausableEngine]:
    async with PausableEngine(tmp_path / "engine.sock").serving() as engine:
        engine.paused = {"one": False, "two": False}
        yield engine


@pytest.fixture
def holds(engine: PausableEngine, tmp_path: Path) -> Holds:
    return Holds(engine.host, tmp_path / "copies")


async def test_writers_stand_still_for_the_block(engine: PausableEngine, holds: Holds) -> None:
    engine.paused["reader"] = False
    async with holds.paused("data") as pause:
        assert engine.paused == {"one": True, "two": True, "reader": False}
        end = await pause.end()
    assert not end.late
    assert 0 < end.seconds < module.PAUSE_SECONDS
    assert not any(engine.paused.values())


async def test_where_nothing_writes_nothing_stands_still(engine: PausableEngine, holds: Holds) -> None:
    engine.paused.clear()
    async with holds.paused("data") as pause:
        end = await pause.end()
    assert (end.seconds, end.late) == (0.0, False)


async def test_what_was_paused_before_stays_so(engine: PausableEngine, holds: Holds) -> None:
    engine.paused["two"] = True
    async with holds.paused("data"):
        pass
    assert engine.paused == {"one": False, "two": True}


async def test_a_pause_ends_by_itself(engine: PausableEngine, holds: Holds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.2)
    async with holds.paused("data") as pause:
        await engine.until(paused=False)
        assert (await pause.end()).late


async def test_one_that_cannot_be_paused_lets_all_go_on(engine: PausableEngine, holds: Holds, tmp_path: Path) -> None:
    engine.refuses.add("two")
    with pytest.raises(Unavailable, match="does not pause container two: no freezer here"):
        async with holds.paused("data"):
            raise AssertionError("nothing is held")
    assert not any(engine.paused.values())
    assert not list((tmp_path / "copies").iterdir())


async def test_an_engine_that_hesitates_is_asked_again(engine: PausableEngine, holds: Holds) -> None:
    async with holds.paused("data") as pause:
        engine.sticks = 3
        await pause.end()
    assert not any(engine.paused.values())
    assert engine.calls.count("unpause one") + engine.calls.count("unpause two") == 5


@pytest.mark.parametrize("how", ["the agent is gone", "the program is told to end"])
async def test_they_go_on_without_the_agent(engine: PausableEngine, tmp_path: Path, how: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "worker.volumes.pausing", "pause", engine.host, "data", "100", str(tmp_path / "record")),
        stdin=asyncio.subprocess.PIPE,
    )
    await engine.until(paused=True)
    assert json.loads((tmp_path / "record").read_text()) == ["one", "two"]
    if how == "the agent is gone":
        assert process.stdin is not None
        process.stdin.close()
    else:
        process.send_signal(signal.SIGTERM)
    await engine.until(paused=False)
    await process.wait()
    assert not (tmp_path / "record").exists()


async def test_what_a_killed_host_left_paused_goes_on(engine: PausableEngine, holds: Holds, tmp_path: Path) -> None:
    """Agent and program were killed together: the next agent has the record."""
    folder = tmp_path / "copies"
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "worker.volumes.pausing", "pause", engine.host, "data", "100", str(folder / "data.paused.json")),
        stdin=asyncio.subprocess.PIPE,
    )
    await engine.until(paused=True)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert all(engine.paused.values())
    await holds.recover()
    assert not any(engine.paused.values())
    assert not list(folder.iterdir())


class Sender:
    """A copying process whose last passes take in all, each after as long as it says."""

    def __init__(self, engine: PausableEngine, late: int) -> None:
        self.engine = engine
        self.late = late
        self.told: list[str] = []

    def tell(self, do: str) -> None:
        self.told.append(do)

    async def wait_for(self, kind: type[AnyReport]) -> AnyReport:
        if kind is Taken:
            assert all(self.engine.paused.values())
            if self.late:
                self.late -= 1
                await self.engine.until(paused=False)
            return Taken(number=1)
        return Passed(number=1, sent=0, read=0, files=0, seconds=0, next="last", rest=0, digest=str(len(self.told)))


async def test_a_pass_that_takes_too_long_is_made_again(
    engine: PausableEngine, holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.3)
    sender = Sender(engine, late=2)
    passed, seconds = await held_pass(sender, holds, "data")  # type: ignore[arg-type]
    assert sender.told == ["last", "pass", "last", "pass", "last"]
    assert passed.digest == "5"
    assert seconds > 0


async def test_one_that_never_fits_into_a_pause_is_given_up(
    engine: PausableEngine, holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    sender = Sender(engine, late=module.MOST_PAUSES)
    with pytest.raises(FailedPrecondition, match="stop the tasks for it"):
        await held_pass(sender, holds, "data")  # type: ignore[arg-type]
    assert not any(engine.paused.values())

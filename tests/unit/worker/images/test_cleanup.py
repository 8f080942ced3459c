"""Fetched images go when nobody needs them any more, and no others."""

import asyncio
import os
from pathlib import Path

import pytest

from common.clock import LoopClock
from common.wire.image_messages import Spared, SpareImages
from tests.fakes.engine import FakeEngine
from tests.fakes.virtual_loop import run_virtual
from worker.images.cleanup import DAY_SECONDS, FetchedImages
from worker.interfaces.engine import Image
from worker.link.requests import Requests

WEEK = 7 * DAY_SECONDS


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: weeks of hourly looks write the file each time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


class World:
    """A worker whose manager spares what is not in `named`."""

    def __init__(self, path: Path, keep: float = WEEK) -> None:
        self.engine = FakeEngine()
        self.engine.details = {name: Image(id=name) for name in "abc"}
        self.named: set[str] = set()
        self.asked: list[tuple[str, ...]] = []
        self.wanted: set[str] = set()
        self._requests = Requests()
        self.images = FetchedImages(path, self.engine, self._requests, LoopClock(), keep)

    async def days(self, count: int) -> None:
        jobs = [asyncio.create_task(self.images.run(lambda: self.wanted)), asyncio.create_task(self._answer())]
        await asyncio.sleep(count * DAY_SECONDS)
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)

    async def _answer(self) -> None:
        while True:
            number, question = await self._requests.take()
            assert isinstance(question, SpareImages)
            self.asked.append(question.image_ids)
            free = tuple(image for image in (*question.image_ids, "c") if image not in self.named)
            self._requests.answered(number, Spared(image_ids=free))


def test_only_fetched_images_go_a_week_after_their_last_use(tmp_path: Path) -> None:
    async def body() -> None:
        world = World(tmp_path / "f.json")
        world.images.note("a", "a")
        world.wanted = {"a"}
        await world.days(20)
        assert world.asked == []
        world.wanted = set()
        await world.days(6)
        assert world.engine.details.keys() == {"a", "b", "c"}
        await world.days(2)
        assert world.engine.details.keys() == {"b", "c"}  # not even one that the manager's answer names unasked
        assert world.asked == [("a",)]

    run_virtual(body())


def test_what_a_service_names_or_a_container_uses_stays(tmp_path: Path) -> None:
    async def body() -> None:
        world = World(tmp_path / "f.json")
        for name in "ab":
            world.images.note(name, name)
        world.named, world.engine.used_images = {"a"}, {"b"}
        await world.days(10)
        assert world.engine.details.keys() == {"a", "b", "c"}
        world.named, world.engine.used_images = set(), set()
        await world.days(1)
        assert world.engine.details.keys() == {"c"}

    run_virtual(body())


def test_it_outlives_the_agent_and_can_be_switched_off(tmp_path: Path) -> None:
    async def body() -> None:
        World(tmp_path / "f.json").images.note("a", "a")
        never = World(tmp_path / "f.json", keep=0)
        await never.days(100)
        assert never.engine.details.keys() == {"a", "b", "c"}
        again = World(tmp_path / "f.json")
        await again.days(8)
        assert again.engine.details.keys() == {"b", "c"}

    run_virtual(body())


def test_a_damaged_file_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("{")

    async def body() -> None:
        world = World(tmp_path / "f.json")
        await world.days(30)
        assert world.asked == []

    run_virtual(body())


def test_what_has_another_id_here_is_removed_by_that(tmp_path: Path) -> None:
    async def body() -> None:
        World(tmp_path / "f.json").images.note("there", "a")
        world = World(tmp_path / "f.json")
        assert (world.images.name("there"), world.images.name("b")) == ("a", "")
        await world.days(8)
        assert world.engine.details.keys() == {"b", "c"}
        assert world.asked == [("there",)]
        assert world.images.name("there") == ""

    run_virtual(body())

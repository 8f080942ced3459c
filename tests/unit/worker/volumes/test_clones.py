"""A worker copies a volume on its own host, with the real copying processes, driven as a manager does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.wire.volume_copy import Order
from tests.fakes.pausable_engine import PausableEngine
from tests.fakes.volume_host import LINEAGE, Host, opened
from worker.interfaces.volumes import Mark
from worker.volumes.holds import Holds

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="copies keep owners: they run as root")

NEW = "e" * 32
ORDER = Order(id="c", part="clone", volume="data", data_id=LINEAGE, generation=1, as_volume="again", as_data_id=NEW)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[PausableEngine]:
    async with PausableEngine(tmp_path / "engine.sock").serving() as engine:
        engine.paused = {"one": False}
        yield engine


@pytest.fixture
async def host(tmp_path: Path, engine: PausableEngine) -> Host:
    host = Host(tmp_path, Holds(engine.host, tmp_path / "holds"))
    await host.mark(1)
    (host.data() / "file").write_bytes(b"x" * 300_000)
    return host


async def test_a_clone_is_of_one_instant(host: Host, engine: PausableEngine, tmp_path: Path) -> None:
    async with opened(host.transfers.control, ORDER) as control:
        await control.event("ready")
        control.tell("pass")
        await control.event("passed")
        (host.data() / "late").write_text("written meanwhile")
        control.tell("last", hold=True)
        passed = await control.event("passed")
        assert passed.digest
        assert passed.held > 0
        assert engine.calls == ["pause one", "unpause one"]
        control.tell("mark", 2)
        await control.event("marked")
        control.tell("stop")
    assert (host.data("again") / "late").read_text() == "written meanwhile"
    assert (host.data("again") / "file").read_bytes() == b"x" * 300_000
    assert await host.marked("again") == Mark(NEW, 2)
    assert await host.marked() == Mark(LINEAGE, 1)
    assert not list((tmp_path / "copies").iterdir())


async def test_one_that_is_broken_off_leaves_nothing(host: Host) -> None:
    async with opened(host.transfers.control, ORDER) as control:
        await control.event("ready")
        assert await host.marked("again") == Mark(NEW, 0)
    assert not host.data("again").exists()


async def test_what_a_killed_worker_left_is_made_anew(host: Host) -> None:
    await host.mark(0, NEW, "again")
    (host.data("again") / "half").write_text("half")
    async with opened(host.transfers.control, ORDER) as control:
        await control.event("ready")
        assert not (host.data("again") / "half").exists()


async def test_a_volume_that_is_there_is_not_touched(host: Host) -> None:
    await host.mark(1, "f" * 32, "again")
    async with opened(host.transfers.control, ORDER) as control:
        found = await control.event("failed")
    assert found.code == "AlreadyExists"
    assert await host.marked("again") == Mark("f" * 32, 1)


async def test_a_moved_volume_is_removed_when_told(host: Host, tmp_path: Path) -> None:
    """Only what was sent, and has the data that was sent."""
    async with opened(host.transfers.control, ORDER) as control:
        await control.event("ready")
        control.tell("remove")
        assert (await control.event("failed")).message == "only a volume that was sent is removed, and as it was sent"
    assert host.data().exists()


async def test_a_manager_that_goes_away_ends_a_hold(host: Host, engine: PausableEngine) -> None:
    async with opened(host.transfers.control, ORDER) as control:
        await control.event("ready")
        control.tell("last", hold=True)
        await asyncio.wait_for(engine.until(paused=True), 20)
    await engine.until(paused=False)
    assert not host.data("again").exists()

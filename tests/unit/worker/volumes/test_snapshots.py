"""Snapshots that tasks mount, with the real copying processes and a real pause of an engine that is not there."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from common.errors import AlreadyExists, FailedPrecondition, NotFound
from common.model.container import ContainerSpec
from common.wire.volume_copy import Order
from tests.fakes.pausable_engine import PausableEngine
from tests.fakes.volume_host import LINEAGE, Host, opened
from tests.fakes.volumes import mount, service, task
from worker.interfaces.engine import Container, EngineError, EngineVolume
from worker.volumes.holds import Holds
from worker.volumes.marks import HostMarks
from worker.volumes.snapshots import ORPHAN_SECONDS, TaskSnapshots

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="copies keep owners: they run as root")

OTHER = mount("other")
TASK = task(service("backup", mount("data", snapshot="pause"), OTHER))
NAME = f"data.{TASK.id}"


def spec() -> ContainerSpec:
    found = TASK.spec.container_spec
    assert found is not None
    return found


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[PausableEngine]:
    async with PausableEngine(tmp_path / "engine.sock").serving() as engine:
        engine.paused = {"db": False}
        yield engine


@pytest.fixture
async def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    await host.mark(1)
    (host.data() / "file").write_text("content")
    return host


@pytest.fixture
def snapshots(host: Host, engine: PausableEngine, tmp_path: Path) -> TaskSnapshots:
    holds = Holds(engine.host, tmp_path / "copies")
    return TaskSnapshots(host, HostMarks(), holds, tmp_path / "copies", random.Random(1))  # type: ignore[arg-type]


async def test_a_snapshot_takes_its_volumes_place(
    host: Host, engine: PausableEngine, snapshots: TaskSnapshots, tmp_path: Path
) -> None:
    made = await snapshots.mounted(TASK, spec())
    assert [(each.source, each.target) for each in made.mounts] == [(NAME, "/data"), ("other", "/other")]
    assert (host.data(NAME) / "file").read_text() == "content"
    assert engine.calls == ["pause db", "unpause db"]
    assert not list((tmp_path / "copies").iterdir())
    (host.data() / "file").write_text("changed")
    await snapshots.mounted(TASK, spec())  # the agent was restarted before the container was made
    assert (host.data(NAME) / "file").read_text() == "content"
    await snapshots.remove(TASK, spec())
    assert not host.data(NAME).exists()
    assert host.data().exists()


async def test_half_a_snapshot_is_made_anew(host: Host, snapshots: TaskSnapshots) -> None:
    await host.mark(0, LINEAGE, NAME)
    (host.data(NAME) / "half").touch()
    await snapshots.mounted(TASK, spec())
    assert [each.name for each in host.data(NAME).iterdir()] == ["file"]


async def test_a_live_one_pauses_nothing(engine: PausableEngine, snapshots: TaskSnapshots) -> None:
    live = replace(spec(), mounts=(mount("data", snapshot="live"),))
    await snapshots.mounted(TASK, live)
    assert engine.calls == []


async def test_one_of_a_volume_that_is_removed_meanwhile_fails(
    host: Host, snapshots: TaskSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = snapshots._copy

    async def copy_and_remove(source: EngineVolume, target: EngineVolume, hold: str) -> None:
        await copy(source, target, hold)
        await host.remove_volume("data")

    monkeypatch.setattr(snapshots, "_copy", copy_and_remove)
    with pytest.raises(FailedPrecondition, match="volume data was removed on this host while it was read"):
        await snapshots.mounted(TASK, spec())
    assert not host.data(NAME).exists()


async def test_a_failed_one_leaves_nothing(host: Host, engine: PausableEngine, snapshots: TaskSnapshots) -> None:
    engine.refuses.add("db")
    with pytest.raises(Exception, match="no freezer here"):
        await snapshots.mounted(TASK, spec())
    assert not host.data(NAME).exists()


async def test_what_is_not_there_or_not_ours_is_said(host: Host, snapshots: TaskSnapshots) -> None:
    missing = replace(spec(), mounts=(mount("none", snapshot="pause"),))
    with pytest.raises(NotFound, match="volume none is not on this host"):
        await snapshots.mounted(TASK, missing)
    await host.create_volume(NAME)
    with pytest.raises(AlreadyExists):
        await snapshots.mounted(TASK, spec())


async def test_the_room_of_one_in_use_is_given_back(
    host: Host, snapshots: TaskSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ended container is kept for its logs."""
    await snapshots.mounted(TASK, spec())
    (host.data(NAME) / "folder").mkdir()

    async def refuse(_: str) -> None:
        raise EngineError(409, "volume is in use")

    monkeypatch.setattr(host, "remove_volume", refuse)
    await snapshots.remove(TASK, spec())
    assert list(host.data(NAME).iterdir()) == []


async def test_one_whose_task_is_forgotten_goes_after_an_hour(host: Host, snapshots: TaskSnapshots) -> None:
    """As after an agent has lost its database; nothing that is not marked as a task's snapshot ever goes."""
    await snapshots.mounted(TASK, spec())
    await host.mark(1, "e" * 32, "data.as.somebody.called.it")
    await snapshots.sweep([TASK.id], 0.0)
    await snapshots.sweep([], ORPHAN_SECONDS)
    await snapshots.sweep([TASK.id], ORPHAN_SECONDS + 1)
    await snapshots.sweep([], ORPHAN_SECONDS + 2)
    await snapshots.sweep([], 2 * ORPHAN_SECONDS)
    assert host.data(NAME).exists(), "its task was there, not an hour ago"
    host.containers = (Container(id="x"),)
    await snapshots.sweep([], 4 * ORPHAN_SECONDS)
    assert host.data(NAME).exists(), "a container has it"
    host.containers = ()
    await snapshots.sweep([], 5 * ORPHAN_SECONDS)
    await snapshots.sweep([], 6 * ORPHAN_SECONDS)
    assert [each.name for each in await host.volumes()] == ["data", "data.as.somebody.called.it"]


async def test_one_for_which_tasks_stop_is_the_managers_to_make(host: Host, snapshots: TaskSnapshots) -> None:
    stopping = replace(spec(), mounts=(mount("data", snapshot="stop"),))
    with pytest.raises(FailedPrecondition, match="the snapshot of volume data that was made for the task is gone"):
        await snapshots.mounted(TASK, stopping)
    order = Order(
        id="c",
        part="clone",
        volume="data",
        data_id=LINEAGE,
        generation=1,
        as_volume=NAME,
        as_data_id="e" * 32,
        task=TASK.id,
    )
    async with opened(host.transfers.control, order) as control:
        await control.event("ready")
        control.tell("last")
        await control.event("passed")
        control.tell("mark", 2)
        await control.event("marked")
        control.tell("stop")
    made = await snapshots.mounted(TASK, stopping)
    assert [each.source for each in made.mounts] == [NAME]
    marked = await host.marked(NAME)
    assert marked is not None
    assert marked.task == TASK.id

"""What a host says of its volumes, and which tasks it does not start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from common.errors import FailedPrecondition
from common.model import Task
from common.model.node import NodeDescription
from common.model.volume import TaskVolume
from common.wire.volume_copy import MOST_VOLUMES, SeenVolume, VolumeReport
from tests.fakes.virtual_loop import run_virtual
from tests.fakes.volumes import running, service
from worker.interfaces.engine import EngineDown, EngineVolume
from worker.interfaces.volumes import Mark
from worker.tasks.plan import container_spec
from worker.volumes.inventory import LOOK_SECONDS, MEASURE_SECONDS, UNKNOWN, Inventory, allocated, is_news

DB = running(service("db", "data"), "here")
ANONYMOUS = "0123456789abcdef" * 4


class Host:
    """An engine and marks in memory."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.marks: dict[str, Mark] = {}
        self.up = True
        self.markable = True
        self.mountpoint = ""

    async def volumes(self) -> tuple[EngineVolume, ...]:
        if not self.up:
            raise EngineDown("no Docker engine answers")
        return tuple(EngineVolume(name=name, mountpoint=self.mountpoint) for name in self.names)

    async def volume(self, name: str) -> EngineVolume | None:
        return EngineVolume(name=name) if name in self.names else None

    async def read(self, volume: EngineVolume) -> Mark | None:
        return self.marks.get(volume.name)

    async def write(self, volume: EngineVolume, mark: Mark) -> bool:
        if self.markable:
            self.marks[volume.name] = mark
        return self.markable


@asynccontextmanager
async def inventory(host: Host, *tasks: Task) -> AsyncIterator[Inventory]:
    known = {task.id: task for task in tasks}
    found = Inventory(host, host, Random(1), lambda: known)  # type: ignore[arg-type]
    running = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        running.cancel()
        await asyncio.wait({running})


async def whole(found: Inventory) -> tuple[SeenVolume, ...]:
    """Return the next list, whose parts come one after the other."""
    parts: list[VolumeReport] = [await found.changed()]
    while parts[-1].more:
        parts.append(await found.changed())
    return tuple(each for part in parts for each in part.volumes)


async def check(found: Inventory, task: Task) -> None:
    """Look as a runner does, on a host that is called `here`."""
    spec = container_spec.expand_templates(task, "n1", NodeDescription(hostname="here"))
    await found.check(task, spec)


def test_named_volumes_are_marked_once_and_reported() -> None:
    async def story() -> None:
        host = Host("b", "data", ANONYMOUS)
        async with inventory(host, DB) as found:
            found.asked()
            first = await whole(found)
            assert [(each.name, each.generation) for each in first] == [("data", 1), ("b", 1)]  # tasks' first
            assert {each.name: each.data_id for each in first} == {n: m.data_id for n, m in host.marks.items()}
            host.names.append("late")
            began = asyncio.get_running_loop().time()
            assert [each.name for each in await whole(found)] == ["data", "b", "late"]
            assert asyncio.get_running_loop().time() - began <= LOOK_SECONDS
            found.asked()  # another session
            assert [each.data_id for each in await whole(found)][:2] == [each.data_id for each in first]

    run_virtual(story())


def test_nothing_is_said_to_who_has_not_asked() -> None:
    async def story() -> None:
        async with inventory(Host("data")) as found:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(100):
                    await found.changed()
            found.asked()
            await found.changed()
            found.lost()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(100):
                    await found.changed()

    run_virtual(story())


def test_a_long_list_comes_in_parts_and_has_an_end() -> None:
    async def story() -> None:
        async with inventory(Host(*(f"v{number:05}" for number in range(MOST_VOLUMES + 5)))) as found:
            found.asked()
            parts = [await found.changed()]
            while parts[-1].more:
                parts.append(await found.changed())
            assert sum(len(each.volumes) for each in parts) == MOST_VOLUMES
            assert all(each.cut for each in parts)

    run_virtual(story())


def test_an_engine_that_comes_back_is_looked_at() -> None:
    async def story() -> None:
        host = Host("data")
        host.up = False
        async with inventory(host) as found:
            found.asked()
            await asyncio.sleep(5)
            host.up = True
            assert [each.name for each in await whole(found)] == ["data"]

    run_virtual(story())


def test_a_volume_that_cannot_be_marked_has_no_lineage() -> None:
    async def story() -> None:
        host = Host("data")
        host.markable = False
        async with inventory(host) as found:
            found.asked()
            assert [(each.name, each.data_id) for each in await whole(found)] == [("data", "")]

    run_virtual(story())


@pytest.mark.parametrize(
    ("names", "mark", "why"),
    [
        (("data",), Mark("a" * 32, 2), ""),
        ((), None, "volume data was removed on this host, not by the cluster: the task does not start without it"),
        (("data",), None, "volume data has lost its mark: nobody can tell whose data it has"),
        (
            ("data",),
            Mark("b" * 32, 2),
            "volume data has other data than the task is to find: it was made anew on this host",
        ),
        (("data",), Mark("a" * 32, 1), "volume data has data of generation 1, not 2"),
    ],
)
def test_a_task_starts_on_no_other_data(names: tuple[str, ...], mark: Mark | None, why: str) -> None:
    async def story() -> None:
        host = Host(*names)
        if mark is not None:
            host.marks["data"] = mark
        found = Inventory(host, host, Random(1), dict)  # type: ignore[arg-type]
        wanted = replace(DB, volumes=(TaskVolume(name="data", data_id="a" * 32, generation=2),))
        if not why:
            await check(found, wanted)
            return
        with pytest.raises(FailedPrecondition, match=why):
            await check(found, wanted)

    run_virtual(story())


def test_a_task_starts_on_nothing_that_is_not_whole() -> None:
    """A slot without data may have come to a host to which a move brings a volume of that name."""

    async def story() -> None:
        host = Host("data")
        found = Inventory(host, host, Random(1), dict)  # type: ignore[arg-type]
        host.marks["data"] = Mark("a" * 32, 1)
        await check(found, DB)
        host.marks["data"] = Mark("a" * 32, 0)
        with pytest.raises(FailedPrecondition, match="volume data on this host is not whole"):
            await check(found, DB)

    run_virtual(story())


@pytest.mark.parametrize(
    ("source", "name"),
    [("data-{{.Task.Slot}}", "data-1"), ("data-{{.Node.Hostname}}", "data-here"), ("data-{{.Task.ID}}", "data-t")],
)
def test_names_with_templates_are_looked_up_as_they_are_mounted(source: str, name: str) -> None:
    async def story() -> None:
        host = Host(name)
        found = Inventory(host, host, Random(1), dict)  # type: ignore[arg-type]
        templated = replace(running(service("db", source), "here"), id="t")
        await check(found, templated)
        host.marks[name] = Mark("a" * 32, 0)
        with pytest.raises(FailedPrecondition, match=f"volume {name} on this host is not whole"):
            await check(found, templated)

    run_virtual(story())


def test_sizes_are_measured_soon_and_told() -> None:
    async def story() -> None:
        host = Host("data")
        host.mountpoint = "/volumes/data/_data"
        taken = [5 << 20]

        async def measure(folder: Path) -> int:
            assert folder == Path("/volumes/data")
            return taken[0]

        found = Inventory(host, host, Random(1), dict, measure)  # type: ignore[arg-type]
        running = asyncio.create_task(found.run())
        found.asked()
        sizes = [(await whole(found))[0].size for _ in range(2)]
        assert sizes == [UNKNOWN, 5 << 20]
        taken[0] = 50 << 20
        began = asyncio.get_running_loop().time()
        assert [each.size for each in await whole(found)] == [50 << 20]
        assert MEASURE_SECONDS <= asyncio.get_running_loop().time() - began <= MEASURE_SECONDS + LOOK_SECONDS
        running.cancel()

    run_virtual(story())


MIB = 1 << 20


async def test_a_folder_is_measured_by_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3 * MIB)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert 3 * MIB <= await allocated(tmp_path) < 4 * MIB


async def test_what_is_not_there_has_no_size(tmp_path: Path) -> None:
    assert await allocated(tmp_path / "none") == UNKNOWN


@pytest.mark.parametrize(
    ("size", "before", "news"),
    [
        (5, UNKNOWN, True),
        (UNKNOWN, UNKNOWN, False),
        (UNKNOWN, 5, True),
        (MIB, 0, False),
        (2 * MIB, 0, True),
        (1010 * MIB, 1000 * MIB, False),
        (1030 * MIB, 1000 * MIB, True),
    ],
)
def test_little_more_or_less_is_no_news(size: int, before: int, *, news: bool) -> None:
    assert is_news(size, before) is news

"""Anonymous volumes of tasks: the last of each slot stay for a week, whatever else there is stays for good."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from common.model.volume import new_lineage
from tests.fakes.volume_host import Host
from worker.interfaces.engine import Container
from worker.volumes.kept import KEPT_SECONDS, KeptVolumes
from worker.volumes.marks import HostMarks

RNG = random.Random(1)


class SetClock:
    def __init__(self) -> None:
        self._now = 1_700_000_000.0

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


def anonymous() -> str:
    return new_lineage(RNG) + new_lineage(RNG)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def kept(host: Host, clock: SetClock) -> KeptVolumes:
    return KeptVolumes(host, HostMarks(), clock, RNG)  # type: ignore[arg-type]


async def box(host: Host, *names: str) -> Container:
    for name in names:
        await host.create_volume(name)
    return Container(id="box", anonymous_volumes=names)


async def names(host: Host) -> set[str]:
    return {each.name for each in await host.volumes()}


async def test_the_last_of_each_slot_stay(host: Host, kept: KeptVolumes, clock: SetClock) -> None:
    first, second, third, other = (anonymous() for _ in range(4))
    assert await kept.keep("db.1", await box(host, first))
    assert await kept.keep("db.2", await box(host, other))
    clock.advance(1.0)
    assert await kept.keep("db.1", await box(host, second, third))
    await kept.sweep()
    assert await names(host) == {second, third, other}


async def test_they_go_after_a_week(host: Host, kept: KeptVolumes, clock: SetClock) -> None:
    await kept.keep("db.1", await box(host, anonymous()))
    clock.advance(KEPT_SECONDS)
    await kept.sweep()
    assert await names(host)
    clock.advance(1.0)
    host.containers = (Container(id="somebody's"),)
    await kept.sweep()
    assert await names(host), "somebody looks at it"
    host.containers = ()
    await kept.sweep()
    assert not await names(host)


async def test_nothing_else_is_ever_removed(host: Host, kept: KeptVolumes, clock: SetClock) -> None:
    await host.create_volume(unmarked := anonymous())
    await host.mark(1, name="named")
    await host.mark(1, name=(marked := anonymous()))
    clock.advance(2 * KEPT_SECONDS)
    await kept.sweep()
    assert await names(host) == {unmarked, marked, "named"}


async def test_a_container_without_any_is_removed_whole(host: Host, kept: KeptVolumes) -> None:
    assert not await kept.keep("web.1", Container(id="box"))
    assert not await kept.keep("web.1", Container(id="box", anonymous_volumes=("gone",)))


async def test_older_ones_go_when_the_next_are_kept(host: Host, kept: KeptVolumes, clock: SetClock) -> None:
    first, second = anonymous(), anonymous()
    await kept.keep("db.1", await box(host, first))
    sweeping = asyncio.create_task(kept.run())
    clock.advance(1.0)
    await kept.keep("db.1", await box(host, second))
    while first in await names(host):
        await asyncio.sleep(0.01)
    sweeping.cancel()
    await asyncio.wait({sweeping})
    assert await names(host) == {second}

"""What the writer does beside storing; tasks of one version share one specification in memory."""

import asyncio
import contextlib
import time

from common.clock import SystemClock
from common.model import Service, Task
from manager.store.backends.memory import MemoryBackend
from manager.store.transaction import Tables
from manager.store.writer import SharedSpecs, Writer
from tests.fakes.world import template


def task(version: int = 1, image: str = "web:1") -> Task:
    return Task(id="t", service_id="s", spec_version=version, spec=template(image))


BEAT_SECONDS = 0.02


async def test_a_busy_leader_is_heard_of_though_nothing_changes() -> None:
    """Others replace one that only looks, for longer than a commit takes, whether there is something to change."""
    beats: list[float] = []

    async def beat() -> None:
        beats.append(time.monotonic())

    writer = Writer(MemoryBackend(), Tables(), SystemClock(), lambda _: None, beat=beat, beat_seconds=BEAT_SECONDS)
    running = asyncio.create_task(writer.run())
    looks = [asyncio.create_task(writer.update(lambda _: time.sleep(BEAT_SECONDS), "")) for _ in range(6)]
    await asyncio.gather(*looks)
    assert len(beats) >= 3
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def test_equal_specifications_of_a_version_become_one() -> None:
    specs = SharedSpecs()
    first, second = specs.shared(task()), specs.shared(task())
    assert second.spec is first.spec


def test_what_differs_stays_as_it_is() -> None:
    specs = SharedSpecs()
    specs.shared(task())
    other = task(image="web:2")
    assert specs.shared(other) is other
    assert specs.shared(task(2, "web:2")).spec == template("web:2")


def test_versions_that_no_new_task_has_are_forgotten() -> None:
    specs = SharedSpecs()
    first = specs.shared(task())
    specs.shared(Service(id="s", spec_version=2))
    assert specs.shared(task()).spec is not first.spec
    kept = specs.shared(task(2))
    specs.shared(Service(id="s", spec_version=2))
    assert specs.shared(task(2)).spec is kept.spec


def test_a_service_that_is_gone_is_forgotten() -> None:
    specs = SharedSpecs()
    first = specs.shared(task())
    specs.forget("s")
    assert specs.shared(task()).spec is not first.spec

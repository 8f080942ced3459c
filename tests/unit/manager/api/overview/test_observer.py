"""Tasks are counted while somebody looks; the timeline hears of all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from common.clock import LoopClock
from common.model import Service, StoredObject, Task, TaskState, TaskStatus
from common.model.service import ServiceSpec
from manager.api.overview import observer as module
from manager.api.overview.observer import IDLE_SECONDS, Observer
from manager.metrics.instruments import Instruments
from manager.overview.counters import Counters
from manager.overview.timeline import TimelineQuery
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from manager.store.transaction import Transaction

SERVICE = Service(id="s", spec=ServiceSpec(name="web"))


class SetClock(LoopClock):
    """A clock that somebody sets: `ahead` seconds are added."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


def task(number: int, state: TaskState = TaskState.RUNNING) -> Task:
    return Task(
        id=f"t{number}",
        service_id="s",
        service_name="web",
        slot=number,
        node_id="n",
        status=TaskStatus(state=state),
        desired_state=TaskState.RUNNING,
    )


@asynccontextmanager
async def observed() -> AsyncIterator[tuple[Store, Observer, SetClock]]:
    clock = SetClock()
    async with Store(MemoryBackend(), clock) as store:
        stored: list[StoredObject] = [SERVICE, *(task(number) for number in range(1, 251))]
        await store.update(lambda tx: [tx.put(each) for each in stored])
        observer = Observer(store, clock, Instruments())
        running = asyncio.create_task(observer.run())
        try:
            yield store, observer, clock
        finally:
            running.cancel()
            await asyncio.wait([running])


async def fail(store: Store, number: int) -> None:
    def change(tx: Transaction) -> None:
        found = tx.tasks.get(f"t{number}")
        assert found is not None
        tx.put(msgspec.structs.replace(found, status=TaskStatus(state=TaskState.FAILED, err="exit 1")))

    await store.update(change)


async def told(observer: Observer, number: int) -> str:
    """Wait until the timeline has so many entries; return the newest."""
    while observer.timeline.last < number:
        await asyncio.sleep(0)
    return next(observer.timeline.newest_first(TimelineQuery())).text


async def test_nothing_is_counted_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    class Noting(Counters):
        def apply(self, change: object, now: float) -> None:
            counted.append(change.current.id)  # type: ignore[attr-defined]
            super().apply(change, now)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "Counters", Noting)
    async with observed() as (store, observer, clock):
        await observer.ready()  # a manager that was started expects to be looked at
        clock.ahead += IDLE_SECONDS + 1
        await fail(store, 6)
        while observer.counts:
            await asyncio.sleep(0)
        counted.clear()
        await fail(store, 7)
        assert await told(observer, 3) == "web.7 failed on n: exit 1"
        assert counted == []
        await observer.ready()
        assert observer.counters.states == {TaskState.RUNNING: 248, TaskState.FAILED: 2}
        await fail(store, 8)
        await told(observer, 4)
        assert observer.counters.states == {TaskState.RUNNING: 247, TaskState.FAILED: 3}


async def test_counting_ends_when_nobody_has_looked_for_long() -> None:
    async with observed() as (store, observer, clock):
        await observer.ready()
        clock.ahead += IDLE_SECONDS + 1
        await fail(store, 1)
        while observer.counts:
            await asyncio.sleep(0)
        assert observer.counters.states == {}
        await fail(store, 2)
        await observer.ready()
        assert observer.counters.states == {TaskState.RUNNING: 248, TaskState.FAILED: 2}


async def test_what_changes_while_all_is_counted_is_not_lost() -> None:
    async with observed() as (store, observer, _):
        await told(observer, 1)
        ready = asyncio.create_task(observer.ready())
        for number in range(1, 41):
            await fail(store, number)
        await ready
        await told(observer, 41)
        assert observer.counters.states == {TaskState.RUNNING: 210, TaskState.FAILED: 40}


async def test_the_past_is_told_once() -> None:
    async with observed() as (_, observer, _):
        await told(observer, 1)
        again = asyncio.create_task(observer.run())
        await observer.ready()
        assert observer.timeline.last == 1
        again.cancel()
        await asyncio.wait([again])

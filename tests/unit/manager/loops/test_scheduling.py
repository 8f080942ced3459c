"""The scheduling loop over a real store, in virtual time: what it follows, retries, and refuses to overwrite."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from common.clock import LoopClock
from common.errors import Unavailable
from common.model import Node, StoredObject, Task, TaskState, TaskStatus
from manager.loops.scheduling import Scheduling
from manager.schedule.load import ClusterLoad, Group
from manager.schedule.scheduler import Round, schedule
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import ChangeSet
from manager.store.store import Store
from manager.store.view import View
from tests.fakes import volumes
from tests.fakes.virtual_loop import run_virtual
from tests.unit.manager.schedule.worlds import node, reserving, running, task, tasks

COMMIT_SECONDS = 0.001


async def put(store: Store, *values: StoredObject) -> None:
    await store.update(lambda tx: [tx.put(value) for value in values])


@contextlib.asynccontextmanager
async def scheduling(backend: MemoryBackend, limit: int = 100) -> AsyncIterator[Store]:
    async with Store(backend, LoopClock()) as store:
        loop = asyncio.create_task(Scheduling(store, LoopClock(), limit).run())
        try:
            yield store
        finally:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop


def scenario(steps: Callable[[Store], Awaitable[None]], backend: MemoryBackend | None = None, limit: int = 100) -> None:
    async def main() -> None:
        async with scheduling(backend or MemoryBackend(delay=COMMIT_SECONDS), limit) as store:
            await steps(store)

    run_virtual(main())


def assigned(store: Store) -> dict[str, str]:
    return {t.id: t.node_id for t in store.view.tasks if t.status.state == TaskState.ASSIGNED}


def error_of(store: Store, task_id: str) -> str:
    found = store.view.tasks.get(task_id)
    assert found is not None
    return found.status.err


def test_others_may_look_at_what_it_knows_of_nodes():
    async def main() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            await put(store, node("a"), task("one"))
            scheduler = Scheduling(store, LoopClock())
            assert scheduler.load is None
            loop = asyncio.create_task(scheduler.run())
            await asyncio.sleep(1)
            assert assigned(store) == {"one": "a"}
            assert scheduler.load == ClusterLoad.of(store.view)
            loop.cancel()

    run_virtual(main())


@pytest.mark.parametrize("part", [1, 100])
def test_what_changes_while_it_begins_is_counted_once(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.loops.scheduling._PART", part)

    async def main() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            loop = Scheduling(store, LoopClock())
            await put(store, node("a"), running("one", "a"))
            async with store.turn():
                running_loop = asyncio.create_task(loop.run())
                await asyncio.sleep(0.1)
                await put(store, running("two", "a"))
            for _ in range(3):
                await asyncio.sleep(0)  # it is in the middle of its parts
            await put(store, running("three", "a"), running("one", "a", status=TaskStatus(state=TaskState.FAILED)))
            await asyncio.sleep(1)
            assert loop._load == ClusterLoad.of(store.view)
            running_loop.cancel()

    run_virtual(main())


def test_it_places_what_waits_at_start_and_what_comes():
    backend = MemoryBackend()

    async def before() -> None:
        async with Store(backend, LoopClock()) as store:
            await put(store, node("a"), node("b"), task("early"))

    async def steps(store: Store) -> None:
        await asyncio.sleep(1)
        assert assigned(store) == {"early": "a"}
        await put(store, task("late"))
        await asyncio.sleep(1)
        assert assigned(store) == {"early": "a", "late": "b"}

    run_virtual(before())
    scenario(steps, backend)


def test_a_bug_with_one_group_holds_up_that_group_only(monkeypatch: pytest.MonkeyPatch):
    bad = True

    def broken(view: View, load: ClusterLoad, groups: Collection[Group], now: float, **more: Any) -> Round:
        if bad and any(service_id == "bad" for service_id, _ in groups):
            raise RuntimeError("a bug")
        return schedule(view, load, groups, now, **more)

    monkeypatch.setattr("manager.loops.scheduling.schedule", broken)

    async def steps(store: Store) -> None:
        nonlocal bad
        await put(store, node("a"), *tasks(2, "bad"), *tasks(3, "good"))
        await asyncio.sleep(1)
        assert len(assigned(store)) == 3
        bad = False
        await asyncio.sleep(10)
        assert len(assigned(store)) == 5

    scenario(steps)


def test_more_than_one_decisions_tasks_are_placed_evenly():
    async def steps(store: Store) -> None:
        await put(store, *(node(f"n{i}") for i in range(4)), *tasks(200, "big"), *tasks(3, "small"))
        await asyncio.sleep(1)
        totals = [len(store.view.tasks.on_node(f"n{i}")) for i in range(4)]
        assert sum(totals) == 203
        assert max(totals) - min(totals) <= 1

    scenario(steps, limit=10)


def test_an_unplaced_task_is_placed_when_a_node_becomes_ready():
    async def steps(store: Store) -> None:
        await put(store, node("a", state="down"), task("t"))
        await asyncio.sleep(60)
        assert error_of(store, "t") == "no suitable node (1 node not available for new tasks)"
        await put(store, node("a"))
        await asyncio.sleep(0.1)
        assert assigned(store) == {"t": "a"}
        assert error_of(store, "t") == ""

    scenario(steps)


def test_it_is_placed_when_a_task_that_held_the_resources_ends():
    old = running("old", "a", spec=reserving(cpus=1))

    async def steps(store: Store) -> None:
        await put(store, node("a", cpus=1), old, task("t", spec=reserving(cpus=1)))
        await asyncio.sleep(60)
        assert assigned(store) == {}
        ended = replace(old, status=TaskStatus(state=TaskState.COMPLETE))
        await put(store, ended)
        await asyncio.sleep(0.1)
        assert assigned(store) == {"t": "a"}

    scenario(steps)


def test_quickly_changing_reasons_are_written_a_little_later():
    async def steps(store: Store) -> None:
        await put(store, node("a", cpus=1), task("t", spec=reserving(cpus=2)))
        await asyncio.sleep(0.1)
        await put(store, node("b", cpus=1))
        await asyncio.sleep(1)
        assert error_of(store, "t") == "no suitable node (insufficient resources on 1 node: 2e-09 CPUs)"
        await asyncio.sleep(10)
        assert error_of(store, "t") == "no suitable node (insufficient resources on 2 nodes: 2e-09 CPUs)"

    scenario(steps)


def test_a_stable_world_is_left_alone():
    async def steps(store: Store) -> None:
        await put(store, node("a", cpus=1), task("t"), task("hopeless", "other", reserving(cpus=2)))
        await asyncio.sleep(60)
        index = store.index
        await asyncio.sleep(3600)
        assert store.index == index

    scenario(steps)


async def one_behind_the_other(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Let `second` wait in the store's queue while `first` is written: it comes before any decision on `first`."""
    created = asyncio.create_task(first)
    await asyncio.sleep(COMMIT_SECONDS / 2)
    await asyncio.gather(created, asyncio.create_task(second))


def test_a_node_that_changes_during_the_decision_gets_nothing():
    """The drain is in the store's queue before the decision: the decision does not know it, the transaction does."""

    async def steps(store: Store) -> None:
        await put(store, node("a"), node("b"))
        await asyncio.sleep(1)
        await one_behind_the_other(put(store, task("t")), put(store, node("a", availability="drain")))
        await asyncio.sleep(1)
        assert assigned(store) == {"t": "b"}

    scenario(steps)


def test_a_task_stopped_during_the_decision_is_not_revived():
    async def steps(store: Store) -> None:
        await put(store, node("a"))
        await asyncio.sleep(1)
        await one_behind_the_other(put(store, task("t")), put(store, task("t", desired_state=TaskState.SHUTDOWN)))
        await asyncio.sleep(1)
        got = store.view.tasks.get("t")
        assert got is not None
        assert (got.desired_state, got.status.state, got.node_id) == (TaskState.SHUTDOWN, TaskState.PENDING, "")

    scenario(steps)


class Failing(MemoryBackend):
    """Cannot store what is asked for while `broken`, as when a disk is full."""

    broken = False

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        if self.broken:
            raise Unavailable("no space left on device")
        await super().commit(change_sets)


def test_a_decision_that_was_not_stored_is_repeated_exactly_once():
    backend = Failing(delay=COMMIT_SECONDS)

    async def steps(store: Store) -> None:
        await put(store, node("a", cpus=1))
        await asyncio.sleep(1)
        created = asyncio.create_task(put(store, task("t", spec=reserving(cpus=1))))
        with store.watch() as changes:
            await changes.next()
            backend.broken = True
        await created
        await asyncio.sleep(30)
        assert assigned(store) == {}
        backend.broken = False
        await asyncio.sleep(2)
        assert assigned(store) == {"t": "a"}

    scenario(steps, backend)


def test_nodes_and_tasks_that_go_leave_no_trace():
    async def steps(store: Store) -> None:
        await put(store, node("a", cpus=1), task("t", spec=reserving(cpus=1)))
        await asyncio.sleep(1)
        await store.update(lambda tx: [tx.remove(Task(id="t")), tx.remove(Node(id="a"))])
        await put(store, node("b", cpus=1), task("u", spec=reserving(cpus=1)))
        await asyncio.sleep(1)
        assert assigned(store) == {"u": "b"}

    scenario(steps)


def test_a_task_that_asks_which_copy_is_meant_hears_the_answer():
    db = volumes.service("db", "data")
    claimed = volumes.claim("db.1", "data", "b")

    async def steps(store: Store) -> None:
        copies = (volumes.copy("a", "data"), volumes.copy("b", "data"))
        await put(store, node("a"), node("b"), *copies, db, waits := volumes.task(db))
        await asyncio.sleep(1)
        assert "nobody has said which one is meant" in error_of(store, waits.id)
        await put(store, claimed)
        await asyncio.sleep(1)
        assert assigned(store) == {waits.id: "b"}

    scenario(steps)

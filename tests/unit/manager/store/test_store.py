"""The store: transactions, group commit, durability before visibility, watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from common.errors import AlreadyExists, NotFound, Unavailable
from common.model import Node, Service, Task
from common.model.naming import Version
from common.model.service import ServiceSpec
from common.model.task import TaskState, TaskStatus
from common.model.update import Awaited, Condition, UpdateState, UpdateStatus
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change, ChangeSet, Decision
from manager.store.observation import InvalidTransition
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.watch import Lagged

FOR_DB = Awaited(service="db", condition=Condition.HEALTHY)


class FixedClock:
    def now(self) -> float:
        return 1000.0


class CountingBackend(MemoryBackend):
    """Counts commits, can be held open at a gate, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Sequence[ChangeSet]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.commits.append(change_sets)
        await super().commit(change_sets)


def service(object_id: str, name: str) -> Service:
    return Service(id=object_id, spec=ServiceSpec(name=name))


@pytest.fixture
async def backend() -> CountingBackend:
    return CountingBackend()


@pytest.fixture
async def store(backend: CountingBackend) -> AsyncIterator[Store]:
    async with Store(backend, FixedClock()) as opened:
        yield opened


async def test_an_update_whose_caller_gave_up_is_not_made(store: Store, backend: CountingBackend) -> None:
    backend.gate.clear()
    first = asyncio.ensure_future(store.update(lambda tx: tx.put(service("s1", "web"))))
    await asyncio.sleep(0.01)
    second = asyncio.ensure_future(store.update(lambda tx: tx.put(service("s2", "db"))))
    await asyncio.sleep(0.01)
    second.cancel()
    backend.gate.set()
    await first
    await store.update(lambda tx: tx.put(service("s3", "cache")))
    assert {each.id for each in store.view.services} == {"s1", "s3"}


async def test_a_commit_has_no_more_than_the_backend_takes(
    store: Store, backend: CountingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "share_of_commit", lambda _: 0.5)
    await asyncio.gather(*(store.update(lambda tx, n=n: tx.put(service(f"s{n}", f"n{n}"))) for n in range(5)))
    assert [len(each) for each in backend.commits] == [2, 2, 1]


async def test_who_waits_for_an_index_is_woken_when_it_is_reached(store: Store) -> None:
    await asyncio.wait_for(store.reached(0), 5)
    first, second = (asyncio.ensure_future(store.reached(index)) for index in (1, 2))
    await asyncio.sleep(0)
    assert not first.done()
    await store.update(lambda tx: tx.put(service("s1", "web")))
    await asyncio.wait_for(first, 5)
    assert not second.done()
    await store.update(lambda tx: tx.put(service("s2", "db")))
    await asyncio.wait_for(second, 5)


async def test_nobody_waits_for_an_index_of_a_closed_store(backend: CountingBackend) -> None:
    async with Store(backend, FixedClock()) as store:
        waiting = asyncio.ensure_future(store.reached(1))
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)


async def test_an_update_sets_version_and_times_and_is_read_back(store: Store) -> None:
    await store.update(lambda tx: tx.put(service("s1", "web")))
    stored = store.view.services.get("s1")
    assert stored is not None
    assert (stored.version.index, stored.created_at, stored.updated_at) == (1, 1000.0, 1000.0)
    assert [s.id for s in store.view.services.named("web")] == ["s1"]


async def test_only_another_specification_makes_what_was_read_stale(store: Store) -> None:
    def change(**fields: Any) -> Callable[[Transaction], None]:
        def put(tx: Transaction) -> None:
            present = tx.services.get("s1")
            assert present is not None
            tx.put(msgspec.structs.replace(present, **fields))

        return put

    async def current(*fields: dict[str, Any]) -> list[int]:
        for each in fields:
            await store.update(change(**each))
        present = store.view.services.get("s1")
        assert present is not None
        return [index for index in range(present.version.index + 2) if present.is_current(index)]

    await store.update(lambda tx: tx.put(service("s1", "web")))
    status = UpdateStatus(state=UpdateState.UPDATING)
    assert await current({"update_status": status}, {"waits_for": (FOR_DB,)}) == [1, 2, 3]
    assert await current({"spec": ServiceSpec(name="web", labels={"a": "b"})}) == [4]
    assert await current({"spec": ServiceSpec(name="web", labels={"a": "b"})}) == [4, 5], "the same once more"
    assert await current({"update_status": None}) == [4, 5, 6]


async def test_what_was_stored_without_such_numbers_is_current(backend: CountingBackend) -> None:
    """Nobody knows how old its specification is; it may be as old as its last change."""
    old = msgspec.structs.replace(service("s1", "web"), version=Version(index=7))
    await backend.commit([ChangeSet(index=7, changes=(Change(old=None, new=old),))])
    async with Store(backend, FixedClock()) as store:
        (loaded,) = store.view.services
        assert [index for index in range(9) if loaded.is_current(index)] == [7]
        await store.update(lambda tx: tx.put(msgspec.structs.replace(loaded, waits_for=(FOR_DB,))))
        (changed,) = store.view.services
        assert [index for index in range(10) if changed.is_current(index)] == [7, 8]


async def test_nothing_is_visible_or_heard_before_it_is_durable(store: Store, backend: CountingBackend) -> None:
    backend.gate.clear()
    with store.watch() as changes:
        update = asyncio.create_task(store.update(lambda tx: tx.put(service("s1", "web"))))
        await asyncio.sleep(0.01)
        assert "s1" not in store.view.services
        assert not update.done()
        backend.gate.set()
        await update
        assert "s1" in store.view.services
        (change_set,) = await changes.next()
        assert [c.current.id for c in change_set.changes] == ["s1"]


async def test_updates_that_wait_share_one_commit_and_see_each_other(store: Store, backend: CountingBackend) -> None:
    backend.gate.clear()
    first = asyncio.create_task(store.update(lambda tx: tx.put(service("s0", "first"))))
    await asyncio.sleep(0)

    def count_then_put(number: int) -> Awaitable[int]:
        def step(tx: Transaction) -> int:
            seen = len(tx.services)
            tx.put(service(f"s{number}", f"name{number}"))
            return seen

        return store.update(step)

    rest = [asyncio.ensure_future(count_then_put(n)) for n in range(1, 101)]
    await asyncio.sleep(0.01)
    backend.gate.set()
    await first
    assert await asyncio.gather(*rest) == list(range(1, 101))
    assert len(backend.commits) == 2
    assert store.index == 101


async def test_a_failing_function_leaves_no_trace_and_spares_its_batch(store: Store, backend: CountingBackend) -> None:
    def half_done(tx: Transaction) -> None:
        tx.put(service("s1", "web"))
        raise NotFound("network net1 not found")

    bad = store.update(half_done)
    good = store.update(lambda tx: tx.put(service("s2", "db")))
    results = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(results[0], NotFound)
    assert [s.id for s in store.view.services] == ["s2"]
    assert store.view.services.named("web") == ()


async def test_a_failed_commit_fails_its_updates_and_changes_nothing(store: Store, backend: CountingBackend) -> None:
    backend.failure = Unavailable("the disk is full")
    with store.watch() as changes:
        with pytest.raises(Unavailable, match="disk is full"):
            await store.update(lambda tx: tx.put(service("s1", "web")))
        assert len(store.view.services) == 0
        assert store.failure == "the disk is full"
        backend.failure = None
        await store.update(lambda tx: tx.put(service("s1", "web")))
        assert len(await changes.next()) == 1
    assert (store.index, store.failure) == (1, "")


async def test_a_bug_in_the_backend_fails_its_updates_not_the_store(store: Store, backend: CountingBackend) -> None:
    backend.failure = OverflowError("Integer value out of range")
    with pytest.raises(Unavailable, match="internal error"):
        await store.update(lambda tx: tx.put(service("s1", "web")))
    assert len(store.view.services) == 0
    backend.failure = None
    await store.update(lambda tx: tx.put(service("s1", "web")))
    assert store.index == 1


async def test_a_taken_name_is_refused_except_from_a_leaving_service(store: Store) -> None:
    await store.update(lambda tx: tx.put(service("s1", "web")))
    with pytest.raises(AlreadyExists, match="service web already exists"):
        await store.update(lambda tx: tx.put(service("s2", "web")))
    leaving = Service(id="s1", spec=ServiceSpec(name="web"), pending_delete=True)
    await store.update(lambda tx: tx.put(leaving))
    await store.update(lambda tx: tx.put(service("s2", "web")))
    assert {s.id for s in store.view.services.named("web")} == {"s1", "s2"}
    await store.update(lambda tx: tx.put(leaving))


async def test_two_nodes_may_share_a_host_name(store: Store) -> None:
    await store.update(lambda tx: tx.apply(Decision(put=(Node(id="n1"), Node(id="n2")))))
    assert len(store.view.nodes.named("")) == 2


async def test_task_indexes_follow_changes_in_and_after_a_transaction(store: Store) -> None:
    await store.update(lambda tx: tx.put(Task(id="t1", service_id="s1", slot=1)))

    def move(tx: Transaction) -> tuple[int, int, int]:
        tx.put(Task(id="t1", service_id="s1", slot=1, node_id="n1"))
        tx.put(Task(id="t2", service_id="s1", slot=1))
        return len(tx.tasks.on_node("")), len(tx.tasks.on_node("n1")), len(tx.tasks.in_slot("s1", 1))

    assert await store.update(move) == (1, 1, 2)
    tasks = store.view.tasks
    assert [t.id for t in tasks.on_node("n1")] == ["t1"]
    assert [t.id for t in tasks.on_node("")] == ["t2"]
    await store.update(lambda tx: tx.remove(Task(id="t1")))
    assert tasks.on_node("n1") == ()
    assert [t.id for t in tasks.of_service("s1")] == ["t2"]


async def test_an_impossible_task_change_is_refused_with_its_history(store: Store) -> None:
    running = Task(id="t1", slot=1, node_id="n1", status=TaskStatus(state=TaskState.RUNNING))
    await store.update(lambda tx: tx.put(running))
    back = msgspec.structs.replace(running, status=TaskStatus(state=TaskState.PENDING))
    with pytest.raises(InvalidTransition, match="its observed state would move backwards"):
        await store.update(lambda tx: tx.put(back))
    with pytest.raises(InvalidTransition, match="another node"):
        await store.update(lambda tx: tx.put(msgspec.structs.replace(running, node_id="n2")))
    assert store.index == 1


async def test_made_and_removed_in_one_transaction_is_no_change(store: Store, backend: CountingBackend) -> None:
    def step(tx: Transaction) -> None:
        tx.put(service("s1", "web"))
        tx.remove(service("s1", "web"))

    await store.update(step)
    assert backend.commits == []


async def test_a_slow_watcher_is_told_that_it_lost_changes(store: Store) -> None:
    with store.watch(capacity=2) as changes:
        for number in range(3):
            await store.update(lambda tx, n=number: tx.put(service(f"s{n}", f"n{n}")))  # type: ignore[misc]
        with pytest.raises(Lagged):
            await changes.next()
        await store.update(lambda tx: tx.put(service("s9", "n9")))
        (change_set,) = await changes.next()
        assert change_set.index == 4


async def test_a_restart_from_the_backend_has_all_and_shares_specs(backend: CountingBackend) -> None:
    async with Store(backend, FixedClock()) as store:
        for number in range(3):
            await store.update(lambda tx, n=number: tx.put(Task(id=f"t{n}", service_id="s1", spec_version=1)))  # type: ignore[misc]
    async with Store(backend, FixedClock()) as again:
        assert again.index == 3
        assert len({id(task.spec) for task in again.view.tasks}) == 1


async def test_a_closed_store_refuses_updates(backend: CountingBackend) -> None:
    store = Store(backend, FixedClock())
    with pytest.raises(Unavailable, match="not open"):
        await store.update(lambda tx: tx.put(service("s1", "web")))
    async with store:
        pass
    with pytest.raises(Unavailable, match="is stopping"):
        await store.update(lambda tx: tx.put(service("s1", "web")))


async def test_a_bug_that_ends_the_writer_reaches_its_supervisor(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: ChangeSet) -> None:
        raise RuntimeError("a bug in telling of changes")

    with store.watch() as changes:
        monkeypatch.setattr(changes, "publish", broken)
        watching = asyncio.create_task(store.writing())
        with pytest.raises(Unavailable, match="look, then repeat"):
            await store.update(lambda tx: tx.put(service("s1", "web")))
        with pytest.raises(RuntimeError, match="a bug in telling"):
            await watching


async def test_closing_answers_all_updates_that_wait_for_room_too(
    backend: CountingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.store.writer._MAX_WAITING", 2)
    backend.gate.clear()
    store = Store(backend, FixedClock())
    async with store:
        waiting = [asyncio.create_task(store.update(lambda tx: tx.put(service("s1", "web")))) for _ in range(9)]
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)

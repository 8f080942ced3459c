"""The store of several managers: one leads, the others follow, and nobody loses what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from common.clock import LoopClock
from common.errors import Unavailable
from common.model import Service, Task
from common.model.service import ServiceSpec
from manager.store.backend import Deposed, Epoch, FollowedCommit, LeaderRecord, NotLeader, Removal, Unknown
from manager.store.shared import SharedStore
from manager.store.transaction import Transaction
from tests.fakes.shared_log import LogBackend, SharedLog, shared_stores
from tests.fakes.virtual_loop import run_virtual


def record(node_id: str, number: int) -> LeaderRecord:
    return LeaderRecord(node_id, Epoch(0, number), f"{node_id}:2377", "1.0")


def put(name: str) -> Callable[[Transaction], None]:
    return lambda tx: tx.put(Service(id=name, spec=ServiceSpec(name=name)))


def names(store: SharedStore) -> list[str]:
    return [each.name for each in store.view.services]


class Managers:
    """Stores over one log, with the backend of each."""

    def __init__(self, stores: list[SharedStore], backends: list[LogBackend], log: SharedLog) -> None:
        self.stores = stores
        self.backends = backends
        self.log = log

    def __iter__(self) -> Any:
        return iter(self.stores)


@pytest.fixture
async def managers() -> AsyncIterator[Managers]:
    async with AsyncExitStack() as stack:
        log = SharedLog()
        backends = [LogBackend(log) for _ in range(3)]
        loop = asyncio.get_running_loop()
        stores = [await stack.enter_async_context(SharedStore(each, LoopClock(), loop.time)) for each in backends]
        yield Managers(stores, backends, log)


async def test_followers_have_what_the_leader_has_and_say_so(managers: Managers) -> None:
    one, two, three = managers
    assert await one.lead(record("one", 1))
    with two.watch() as heard:
        await one.update(put("web"))
        await asyncio.gather(two.reached(1), three.reached(1))
        (change_set,) = await heard.next()
    assert change_set.index == 1
    assert [(each.old, each.current.name) for each in change_set.changes] == [(None, "web")]
    assert names(one) == names(two) == names(three) == ["web"]
    assert one.view.services.get("web") == two.view.services.get("web")
    assert [each.leads for each in managers] == [True, False, False]
    assert two.leader == one.leader == record("one", 1)
    await one.update(lambda tx: tx.remove(Service(id="web")))
    await two.reached(2)
    assert names(two) == []


async def test_a_follower_says_where_the_leader_is(managers: Managers) -> None:
    one, two, _ = managers
    with pytest.raises(NotLeader, match="no manager leads just now") as refused:
        await two.update(put("web"))
    assert refused.value.leader is None
    await one.lead(record("one", 1))
    await one.update(put("web"))
    await two.reached(1)
    with pytest.raises(NotLeader, match="ask the leader at one:2377") as refused:
        await two.update(put("db"))
    assert refused.value.leader == record("one", 1)


async def test_who_has_not_followed_all_cannot_claim(managers: Managers) -> None:
    one, two, _ = managers
    await one.lead(record("one", 1))
    await one.update(put("web"))
    await two.reached(1)
    managers.log.append(FollowedCommit(2, (Service(id="db", spec=ServiceSpec(name="db")),)))
    assert not await two.lead(record("two", 2))
    await two.reached(2)
    assert await two.lead(record("two", 2))
    assert names(two) == ["web", "db"]


async def test_a_commit_wakes_nobody_who_waits_for_another_leader(managers: Managers) -> None:
    one, two, three = managers
    await one.lead(record("one", 1))
    await one.update(put("web"))
    await two.reached(1)
    moved, heard = asyncio.create_task(two.moved()), two.moved_at
    await one.update(put("db"))
    await two.reached(2)
    await one.update(put("cache"))  # had the first one woken anybody, that would be done by now
    await two.reached(3)
    assert two.moved_at > heard
    assert not moved.done()
    await three.reached(3)
    await three.lead(record("three", 2))
    await moved


async def test_a_deposed_leader_stores_nothing_and_follows(managers: Managers) -> None:
    one, two, _ = managers
    await one.lead(record("one", 1))
    await one.update(put("web"))
    await two.reached(1)
    await two.lead(record("two", 2))
    managers.backends[0].close_gate()
    first = asyncio.create_task(one.update(put("first")))
    await managers.backends[0].waits.wait()
    waiting = asyncio.create_task(one.update(put("waiting")))
    await asyncio.sleep(0)
    managers.backends[0].gate.set()
    with pytest.raises(Deposed):
        await first
    with pytest.raises(NotLeader):
        await waiting
    await two.update(put("db"))
    await one.reached(2)
    assert names(one) == names(two) == ["web", "db"]
    assert (one.leads, one.leader) == (False, record("two", 2))


@pytest.mark.parametrize("stored", [False, True])
async def test_what_became_of_an_unanswered_commit_is_followed(managers: Managers, stored: bool) -> None:
    one, two, _ = managers
    await one.lead(record("one", 1))
    backend = managers.backends[0]
    backend.failure, backend.stored = Unknown("may or may not be stored"), stored
    with pytest.raises(Unknown):
        await one.update(put("web"))
    assert (one.leads, one.leader) == (False, None), "its own record is not one to lead others to"
    await asyncio.sleep(0)
    assert await one.lead(record("one", 2))
    await one.update(put("db"))
    await two.reached(2 if stored else 1)
    assert names(one) == names(two) == (["web", "db"] if stored else ["db"])


async def test_storage_that_refuses_a_change_deposes_nobody(managers: Managers) -> None:
    one, _, _ = managers
    await one.lead(record("one", 1))
    managers.backends[0].failure = Unavailable("the storage is full")
    with pytest.raises(Unavailable, match="is full"):
        await one.update(put("web"))
    assert one.leads
    await one.update(put("web"))


async def test_a_resigning_leader_stores_first_what_waits(managers: Managers) -> None:
    one, two, _ = managers
    await one.lead(record("one", 1))
    managers.backends[0].close_gate()
    updates = [asyncio.create_task(one.update(put(name))) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    resigning = asyncio.create_task(one.resign())
    await asyncio.sleep(0)
    with pytest.raises(NotLeader, match="no manager leads"):
        await one.update(put("d"))
    managers.backends[0].gate.set()
    await asyncio.gather(resigning, *updates)
    await two.reached(3)
    await asyncio.sleep(0)
    assert (two.leader, two.record) == (None, msgspec.structs.replace(record("one", 1), vacant=True))
    assert await two.lead(record("two", 2))


async def test_who_steps_down_does_not_know_about_its_last_commit(managers: Managers) -> None:
    one, two, _ = managers
    await one.lead(record("one", 1))
    managers.backends[0].close_gate()
    update = asyncio.create_task(one.update(put("web")))
    await managers.backends[0].waits.wait()
    await one.step_down()
    with pytest.raises(Unknown, match="may or may not be stored: look, then repeat it"):
        await update
    await asyncio.sleep(0)
    await two.lead(record("two", 2))
    await two.update(put("db"))
    await one.reached(1)
    assert names(one) == ["db"]


async def test_after_a_gap_watchers_hear_the_difference(managers: Managers) -> None:
    one, two, _ = managers
    await one.lead(record("one", 1))
    await one.update(put("web"))
    await one.update(put("old"))
    await two.reached(2)
    with two.watch() as heard:
        managers.log.append(FollowedCommit(3, (Service(id="db", spec=ServiceSpec(name="db")),)))
        managers.log.append(FollowedCommit(4, (Removal(Service, "old"),)))
        managers.log.forgotten = len(managers.log.entries)
        await two.reached(4)
        (change_set,) = await heard.next()
    assert names(two) == ["web", "db"]
    assert [(each.current.name, each.new is None) for each in change_set.changes] == [("old", True), ("db", False)]


async def test_a_claim_that_waits_for_a_load_was_thought_of_before(managers: Managers) -> None:
    """What is loaded may have another leader, whose epoch would be used again."""
    one, two, _ = managers
    backend = managers.backends[1]
    backend.close_gate()
    managers.log.forgotten = 99
    await one.lead(record("one", 1))
    await one.update(put("web"))
    await backend.waits.wait()
    managers.log.forgotten = 0
    claim = asyncio.create_task(two.lead(record("two", 1)))
    await asyncio.sleep(0)
    backend.gate.set()
    assert not await claim
    assert two.record == record("one", 1)
    assert await two.lead(record("two", 2))


def test_a_bug_in_following_is_mended_by_loading(caplog: pytest.LogCaptureFixture) -> None:
    def sabotage(entry: FollowedCommit) -> None:
        raise RuntimeError("a bug in following")

    async def story() -> None:
        async with shared_stores(2) as (one, two):
            two._apply = sabotage  # type: ignore[assignment,method-assign]
            await one.lead(record("one", 1))
            await one.update(put("web"))
            await two.reached(1)
            assert names(two) == ["web"]

    run_virtual(story())
    assert "a bug in following" in caplog.text


def test_why_a_store_cannot_be_loaded_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        log = SharedLog()
        loop = asyncio.get_running_loop()
        backend = LogBackend(log)
        async with SharedStore(backend, LoopClock(), loop.time), SharedStore(LogBackend(log), LoopClock()) as other:
            log.forgotten = 1
            backend.unreadable = "the store is of level 9"
            await other.lead(record("other", 1))
            await asyncio.sleep(5.0)
            backend.unreadable = "etcd does not answer"
            await asyncio.sleep(5.0)

    run_virtual(story())
    said = [each.getMessage() for each in caplog.records if "cannot load the store" in each.getMessage()]
    assert [words.split(": ")[1] for words in said] == ["the store is of level 9", "etcd does not answer"]


async def test_a_followers_tasks_share_their_specification(managers: Managers) -> None:
    one, two, _ = managers
    await one.lead(record("one", 1))
    for number in range(3):
        await one.update(lambda tx, n=number: tx.put(Task(id=f"t{n}", service_id="s", spec_version=1)))  # type: ignore[misc]
    managers.log.entries[:] = [
        _copied(each) if isinstance(each, FollowedCommit) else each for each in managers.log.entries
    ]
    await two.reached(3)
    assert len({id(task.spec) for task in two.view.tasks}) == 1


def _copied(entry: FollowedCommit) -> FollowedCommit:
    """Return a commit as it is after a way over a wire."""
    tasks = [msgspec.msgpack.decode(msgspec.msgpack.encode(each), type=Task) for each in entry.changes]
    return FollowedCommit(entry.index, tuple(tasks))


def test_an_idle_leader_shows_that_it_lives() -> None:
    async def story() -> None:
        log = SharedLog()
        loop = asyncio.get_running_loop()
        async with SharedStore(LogBackend(log), LoopClock(), loop.time) as one:
            await one.lead(record("one", 1))
            await asyncio.sleep(2.05)
            assert len([each for each in log.entries if isinstance(each, FollowedCommit)]) == 8
            assert one.confirmed_at is not None
            assert loop.time() - one.confirmed_at < 0.3
            assert one.index == 0

    run_virtual(story())


def test_a_leaders_time_begins_after_all_it_followed() -> None:
    class Behind:
        def now(self) -> float:
            return 900.0 + asyncio.get_running_loop().time()

    async def story() -> None:
        log = SharedLog()
        loop = asyncio.get_running_loop()
        async with (
            SharedStore(LogBackend(log), LoopClock(1000.0), loop.time) as one,
            SharedStore(LogBackend(log), Behind(), loop.time) as two,
        ):
            await one.lead(record("one", 1))
            await one.update(put("web"))
            await two.reached(1)
            await two.lead(record("two", 2))
            await two.update(put("db"))
            web, db = (two.view.services.get(name) for name in ("web", "db"))
            assert web is not None
            assert db is not None
            assert db.updated_at >= web.updated_at
            await asyncio.sleep(100.0)
            assert two.clock.now() == pytest.approx(1090.0), "slower, but it goes on"

    run_virtual(story())

"""How tasks are stored in etcd at each level: whole, then with the name of a specification that is stored once."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Unavailable
from common.model import Cluster, StoredObject, Task
from common.model.container import ContainerSpec
from common.model.service import TaskSpec
from manager.store.backend import Epoch, LeaderRecord
from manager.store.backends.etcd.api import KeyValue, NoAnswer, Outcome, Page, Transaction
from manager.store.backends.etcd.backend import Attempts, EtcdBackend
from manager.store.backends.sealed import Unsealed
from manager.store.changes import Change, ChangeSet
from manager.store.levels import NEWEST_LEVEL, SPECS_ONCE, UnknownLevel
from tests.fakes.etcd import FakeClient, FakeEtcd
from tests.fakes.virtual_loop import run_virtual

OLD = SPECS_ONCE - 1


def task(name: str, image: str = "nginx") -> Task:
    return Task(id=name, service_id="s1", spec=TaskSpec(container_spec=ContainerSpec(image=image)))


class Manager:
    """One of several managers; it may lead, and its next transactions may have no answer."""

    def __init__(self, etcd: FakeEtcd, name: str, newest: int = NEWEST_LEVEL) -> None:
        self.client = _Client(etcd, etcd.members[name])
        attempts = Attempts(0.1, 0.2)
        self.backend = EtcdBackend(self.client, "c1", Unsealed(), attempts, newest_level=newest)
        self.name = name
        self._index = 0

    async def lead(self, number: int) -> None:
        loaded = await self.backend.load()
        self._index = loaded.index
        assert await self.backend.claim(LeaderRecord(self.name, Epoch(0, number), "", ""))

    async def put(self, *objects: StoredObject) -> None:
        await self.commit(*(Change(None, each) for each in objects))

    async def commit(self, *changes: Change) -> None:
        await self.backend.commit([ChangeSet(self._index + 1, changes)])
        self._index += 1


class _Client(FakeClient):
    lost = False
    pages_left: float = math.inf

    async def read(self, first: bytes, end: bytes, *, limit: int, revision: int = 0) -> Page:
        self.pages_left -= 1
        if self.pages_left < 0:
            raise NoAnswer("the connection was lost")
        return await super().read(first, end, limit=limit, revision=revision)

    async def transact(self, transaction: Transaction) -> Outcome:
        outcome = await super().transact(transaction)
        if self.lost:
            raise NoAnswer("the answer was lost")
        return outcome


def stored(etcd: FakeEtcd, what: str) -> dict[str, KeyValue]:
    prefix = f"/swarm/c1/{what}/"
    found = ((each.key.decode(), each) for each in etcd.state(etcd.revision))
    return {key.removeprefix(prefix): each for key, each in found if key.startswith(prefix)}


async def objects(etcd: FakeEtcd) -> dict[str, StoredObject]:
    loaded = await EtcdBackend(etcd.client("b"), "c1", Unsealed()).load()
    return {each.id: each for each in loaded.objects}


def test_from_its_level_on_a_specification_is_stored_once() -> None:
    async def story() -> None:
        etcd = FakeEtcd(("a", "b"), random.Random(1))
        leader = Manager(etcd, "a")
        await leader.lead(1)
        await leader.put(Cluster(id="c1", store_level=SPECS_ONCE))
        tasks = [task(f"t{number}", image) for number, image in enumerate(("nginx", "nginx", "redis"))]
        await leader.put(*tasks)
        assert len(stored(etcd, "s")) == 2
        assert all(b"nginx" not in each.value for each in stored(etcd, "o").values())
        assert {key: each for key, each in (await objects(etcd)).items() if key != "c1"} == {t.id: t for t in tasks}

    run_virtual(story())


def test_before_its_level_every_task_has_its_own() -> None:
    async def story() -> None:
        etcd = FakeEtcd(("a", "b"), random.Random(1))
        leader = Manager(etcd, "a")
        await leader.lead(1)
        await leader.put(Cluster(id="c1"), task("t1"))
        assert not stored(etcd, "s")
        reader = Manager(etcd, "b", newest=OLD)
        assert task("t1") in (await reader.backend.load()).objects

    run_virtual(story())


def test_rows_of_before_are_brought_to_the_level() -> None:
    async def story() -> None:
        etcd = FakeEtcd(("a", "b"), random.Random(1))
        leader = Manager(etcd, "a")
        await leader.lead(1)
        tasks = [task(f"t{number}") for number in range(250)]
        await leader.put(Cluster(id="c1"), *tasks)
        before = await objects(etcd)
        await leader.put(Cluster(id="c1", store_level=SPECS_ONCE))
        for _ in range(3):
            await leader.backend.beat()
        assert all(b"nginx" not in each.value for each in stored(etcd, "o").values())
        assert len(stored(etcd, "s")) == 1
        assert {**before, "c1": Cluster(id="c1", store_level=SPECS_ONCE)} == await objects(etcd)

    run_virtual(story())


def test_a_large_store_is_read_whole_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.store.backends.etcd.backend._PAGE", 7)
    monkeypatch.setattr("manager.store.backends.etcd.backend._PART", 3)

    async def story() -> None:
        etcd = FakeEtcd(("a", "b"), random.Random(1))
        leader = Manager(etcd, "a")
        await leader.lead(1)
        tasks = [task(f"t{number:02}", f"image-{number % 20}") for number in range(50)]
        await leader.put(Cluster(id="c1", store_level=SPECS_ONCE), *tasks)
        assert await objects(etcd) == {t.id: t for t in (Cluster(id="c1", store_level=SPECS_ONCE), *tasks)}

    run_virtual(story())


def test_a_load_that_breaks_off_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim goes by what was followed before: what is known of rows must still be of that."""
    monkeypatch.setattr("manager.store.backends.etcd.backend._PAGE", 2)

    async def story() -> None:
        etcd = FakeEtcd(("a", "b"), random.Random(1))
        leader = Manager(etcd, "a")
        await leader.lead(1)
        await leader.put(Cluster(id="c1", store_level=SPECS_ONCE), *(task(f"t{number}") for number in range(5)))
        await leader.backend.resign()
        leader.client.pages_left = 3
        with pytest.raises(NoAnswer):
            await leader.backend.load()
        assert await leader.backend.claim(LeaderRecord("a", Epoch(0, 2), "", ""))
        await leader.put(task("t9"))
        assert {f"t{number}" for number in (0, 1, 2, 3, 4, 9)} <= (await objects(etcd)).keys()

    run_virtual(story())


def test_who_does_not_know_the_level_is_told_so() -> None:
    async def story() -> None:
        etcd = FakeEtcd(("a", "b"), random.Random(1))
        leader, late = Manager(etcd, "a"), Manager(etcd, "b", newest=OLD)
        await leader.lead(1)
        await late.backend.load()
        await leader.put(Cluster(id="c1", store_level=SPECS_ONCE), task("t1"))
        with pytest.raises(UnknownLevel, match="has level 2"):
            async for _ in late.backend.followed():
                pass
        with pytest.raises(UnknownLevel, match="install the release that the other managers run"):
            await late.backend.load()
        assert not await late.backend.claim(LeaderRecord("b", Epoch(0, 2), "", ""))

    run_virtual(story())


def test_what_no_task_names_goes_after_the_next_start() -> None:
    async def story() -> None:
        etcd = FakeEtcd(("a", "b"), random.Random(1))
        leader = Manager(etcd, "a")
        await leader.lead(1)
        await leader.put(Cluster(id="c1", store_level=SPECS_ONCE))
        await leader.put(task("t1"), task("t2", "redis"))
        await leader.commit(Change(task("t1"), None))
        assert len(stored(etcd, "s")) == 2
        follower = Manager(etcd, "b")
        await follower.lead(2)
        await follower.backend.beat()
        assert len(stored(etcd, "s")) == 1
        await follower.put(task("t3"))
        assert len(stored(etcd, "s")) == 2

    run_virtual(story())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.tuples(st.integers(0, 5), st.sampled_from("xyz")), max_size=3)),
        st.tuples(st.just("remove"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["raise", "beat", "lost", "takeover", "reload"])),
    ),
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_whatever_happens_what_was_stored_is_read(steps: list[tuple[object, ...]]) -> None:
    """`lost`: the next change is stored, and its leader does not know; it follows until it leads again."""

    async def story() -> None:
        etcd = FakeEtcd(("a", "b"), random.Random(1))
        leaders = [Manager(etcd, "a"), Manager(etcd, "b")]
        await leaders[0].lead(1)
        await leaders[0].put(Cluster(id="c1"))
        wanted: dict[str, StoredObject] = {"c1": Cluster(id="c1")}
        number = 1

        async def change(*changes: Change) -> None:
            leader = leaders[0]
            try:
                await leader.commit(*changes)
            except Unavailable:
                leader.client.lost = False
                await leader.lead(number)
            for each in changes:
                wanted[each.current.id] = each.current
                if each.new is None:
                    del wanted[each.current.id]

        for what, *details in steps:
            match what, details:
                case "put", [list(tasks)]:
                    await change(*(Change(None, each) for each in {n: task(f"t{n}", i) for n, i in tasks}.values()))
                case "remove", [int(name)] if f"t{name}" in wanted:
                    await change(Change(wanted[f"t{name}"], None))
                case "raise", _:
                    await change(Change(wanted["c1"], Cluster(id="c1", store_level=SPECS_ONCE)))
                case "beat", _ if not leaders[0].client.lost:
                    await leaders[0].backend.beat()
                case "lost", _:
                    leaders[0].client.lost, number = True, number + 1
                case "takeover", _:
                    leaders[0].client.lost, number = False, number + 1
                    leaders.reverse()
                    await leaders[0].lead(number)
                case "reload", _ if not leaders[0].client.lost:
                    number += 1
                    await leaders[0].lead(number)
            assert await objects(etcd) == wanted

    run_virtual(story())

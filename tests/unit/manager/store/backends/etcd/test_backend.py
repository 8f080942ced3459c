"""Managers' store in etcd, modelled: whatever becomes of requests and answers, what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest

from common.errors import Unavailable
from common.model import Secret, Service
from common.model.secret import SecretSpec
from common.model.service import ServiceSpec
from manager.store.backend import (
    Deposed,
    Epoch,
    Followed,
    FollowedCommit,
    FollowedLeader,
    Gap,
    LeaderRecord,
    Removal,
    Unknown,
)
from manager.store.backends.etcd.api import NoAnswer, Outcome, Put, Refused, Transaction
from manager.store.backends.etcd.backend import EtcdBackend
from manager.store.backends.sealed import AesSeal, NotOpened, Unsealed
from manager.store.changes import Change, ChangeSet
from tests.fakes.etcd import FakeClient, FakeEtcd, Faults
from tests.fakes.virtual_loop import run_virtual

SEAL = AesSeal({1: b"k" * 32}, 1)


def record(node_id: str, number: int) -> LeaderRecord:
    return LeaderRecord(node_id, Epoch(0, number), f"{node_id}:2377", "1.0")


def service(name: str) -> Service:
    return Service(id=name, spec=ServiceSpec(name=name))


def puts(index: int, *names: str) -> ChangeSet:
    return ChangeSet(index, tuple(Change(None, service(name)) for name in names))


class Spoiled(FakeClient):
    """A client whose next transactions meet what `fate` has for each: `lost` before etcd had it, `unanswered` after."""

    def __init__(self, etcd: FakeEtcd, name: str) -> None:
        super().__init__(etcd, etcd.members[name])
        self.fate: list[str] = []
        self.between: Callable[[], Awaitable[None]] | None = None

    async def transact(self, transaction: Transaction) -> Outcome:
        fate = self.fate.pop(0) if self.fate else "answered"
        if fate == "lost":
            raise NoAnswer("the request was lost")
        if fate == "refused":
            raise Refused("etcdserver: mvcc: database space exceeded")
        outcome = await super().transact(transaction)
        if fate == "unanswered":
            if self.between is not None:
                await self.between()
            raise NoAnswer("the answer was lost")
        return outcome


class World:
    """An etcd of three, and a backend on each."""

    def __init__(self) -> None:
        self.etcd = FakeEtcd(("a", "b", "c"), random.Random(1))
        self.clients = [Spoiled(self.etcd, name) for name in self.etcd.members]
        self.backends = [EtcdBackend(client, "c1", SEAL) for client in self.clients]


def living(story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        for backend in world.backends:
            await backend.load()
        await story(world)

    run_virtual(main())


async def follow(backend: EtcdBackend, count: int) -> list[Followed]:
    """Return what a backend follows next."""
    found: list[Followed] = []
    async with asyncio.timeout(60), contextlib.aclosing(backend.followed()) as followed:
        async for each in followed:
            found.append(each)
            if len(found) == count:
                break
    return found


async def names(world: World) -> list[str]:
    loaded = await EtcdBackend(world.etcd.client("c"), "c1", SEAL).load()
    return [each.id for each in loaded.objects]


def test_what_is_committed_is_followed_and_loaded() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        assert await one.claim(record("one", 1))
        await one.commit([puts(1, "web", "db"), ChangeSet(2, (Change(service("web"), None),), by="admin")])
        await one.beat()
        await one.commit([ChangeSet(3, (Change(service("db"), None),), by="admin")])
        assert await follow(two, 4) == [
            FollowedLeader(record("one", 1)),
            FollowedCommit(2, (service("db"),)),
            FollowedCommit(2, ()),
            FollowedCommit(3, (Removal(Service, "db"),), by="admin"),
        ]
        loaded = await EtcdBackend(world.etcd.client("c"), "c1", SEAL).load()
        assert (loaded.index, loaded.objects, loaded.leader) == (3, [], record("one", 1))

    living(story)


def test_only_who_has_seen_all_can_claim() -> None:
    async def story(world: World) -> None:
        one, two, three = world.backends
        assert await one.claim(record("one", 1))
        assert not await two.claim(record("two", 1)), "it has not seen that one leads"
        await follow(two, 1)
        await one.beat()
        assert not await two.claim(record("two", 2)), "it has not seen the beat"
        await follow(two, 1)
        assert await two.claim(record("two", 2))
        assert not await three.claim(record("three", 1))

    living(story)


def test_who_was_replaced_stores_nothing() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        await one.claim(record("one", 1))
        await one.commit([puts(1, "web")])
        await follow(two, 2)
        await two.claim(record("two", 2))
        with pytest.raises(Deposed, match="nothing of this was stored"):
            await one.commit([puts(2, "lost")])
        assert await names(world) == ["web"]
        assert await follow(one, 1) == [FollowedLeader(record("two", 2))]

    living(story)


@pytest.mark.parametrize("fate", [["lost"], ["unanswered"], ["lost", "unanswered"], ["unanswered", "lost"]])
def test_a_commit_without_an_answer_is_stored_once(fate: list[str]) -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        await one.claim(record("one", 1))
        world.clients[0].fate = list(fate)
        await one.commit([puts(1, "web")])
        await one.commit([puts(2, "db")])
        assert await follow(two, 3) == [
            FollowedLeader(record("one", 1)),
            FollowedCommit(1, (service("web"),)),
            FollowedCommit(2, (service("db"),)),
        ]

    living(story)


@pytest.mark.parametrize("stored", [False, True])
def test_nobody_says_what_cannot_be_known(stored: bool) -> None:
    async def story(world: World) -> None:
        one, *_ = world.backends
        await one.claim(record("one", 1))
        world.clients[0].fate = ["unanswered" if stored else "lost", *["lost"] * 1_000]
        with pytest.raises(Unknown, match="may or may not be stored"):
            await one.commit([puts(1, "web")])
        assert await names(world) == (["web"] if stored else [])
        world.clients[0].fate.clear()
        if stored:
            assert await follow(one, 1) == [FollowedCommit(1, (service("web"),))]
        assert await one.claim(record("one", 2))

    living(story)


def test_an_answer_lost_before_a_takeover_is_unknown() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        await one.claim(record("one", 1))

        async def take_over() -> None:
            await follow(two, 2)
            await two.claim(record("two", 2))
            await two.beat()

        world.clients[0].fate, world.clients[0].between = ["unanswered"], take_over
        with pytest.raises(Unknown):
            await one.commit([puts(1, "web")])
        assert await names(world) == ["web"], "it was stored: nobody may hear that it was not"

    living(story)


def test_a_claim_without_an_answer_is_found_to_be_stored() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        world.clients[0].fate = ["unanswered"]
        assert await one.claim(record("one", 1))
        await one.commit([puts(1, "web")])
        world.clients[1].fate = ["unanswered"]
        assert not await two.claim(record("two", 1))

    living(story)


def test_what_etcd_refuses_is_not_stored_and_leads_on() -> None:
    async def story(world: World) -> None:
        one, *_ = world.backends
        await one.claim(record("one", 1))
        world.clients[0].fate = ["refused"]
        with pytest.raises(Unavailable, match="space exceeded") as refused:
            await one.commit([puts(1, "web")])
        assert not isinstance(refused.value, Unknown | Deposed)
        world.clients[0].fate = ["unanswered", "refused"]
        with pytest.raises(Unknown, match="whether it was stored before"):
            await one.commit([puts(1, "web")])

    living(story)


def test_a_resigned_leader_leaves_a_vacancy() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        await one.claim(record("one", 1))
        await one.resign()
        _, vacancy = await follow(two, 2)
        assert isinstance(vacancy, FollowedLeader)
        assert vacancy.record.vacant
        with pytest.raises(Deposed, match="does not lead"):
            await one.commit([puts(1, "web")])
        assert await two.claim(record("two", 2))
        await follow(one, 1)
        with pytest.raises(Deposed, match="does not lead"):
            await one.commit([puts(1, "web")])

    living(story)


def test_a_large_commit_has_longer_while_signs_of_life_are_taken() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        assert await one.claim(record("one", 1))
        await follow(two, 1)
        world.etcd.faults = Faults(slow=0.006)
        large = puts(1, *map(str, range(500)))
        with pytest.raises(Unknown, match=r"has not answered for 2\.0 s"):
            await one.commit([large])  # no sign of life is confirmed beside it
        assert [each.index for each in await follow(two, 1) if isinstance(each, FollowedCommit)] == [1]
        assert await two.claim(record("two", 2))

        storing = asyncio.create_task(two.commit([puts(2, *map(str, range(500)))]))
        while not storing.done():
            await asyncio.sleep(0.25)
            await two.show_life()
        await storing
        heard: list[Followed] = []
        while not (heard and isinstance(last := heard[-1], FollowedCommit) and last.index == 2):
            heard += await follow(one, 1)
        assert [each.index for each in heard if isinstance(each, FollowedCommit) and each.changes] == [1, 2]
        assert FollowedCommit(1, ()) in heard, "a sign of life is heard before the commit"

    living(story)


def test_a_commit_that_never_comes_is_given_up_in_spite_of_signs() -> None:
    async def story(world: World) -> None:
        one = world.backends[0]
        assert await one.claim(record("one", 1))
        world.etcd.faults = Faults(slow=0.1)
        storing = asyncio.create_task(one.commit([puts(1, *map(str, range(500)))]))
        while not storing.done():
            await asyncio.sleep(0.25)
            await one.show_life()
        with pytest.raises(Unknown, match=r"has not answered for 10\.0 s"):
            await storing

    living(story)


def test_who_does_not_lead_shows_no_life() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        with pytest.raises(Deposed):
            await two.show_life()
        assert await one.claim(record("one", 1))
        await follow(two, 1)
        assert await two.claim(record("two", 2))
        with pytest.raises(Deposed):
            await one.show_life()
        world.etcd.set_member("a", paused=True)
        world.etcd.set_member("b", paused=True)
        with pytest.raises(NoAnswer):
            await two.show_life()

    living(story)


def test_without_a_majority_nothing_is_confirmed() -> None:
    async def story(world: World) -> None:
        one, *_ = world.backends
        await one.claim(record("one", 1))
        world.etcd.set_member("b", up=False)
        await one.beat()
        world.etcd.set_member("c", cut=True)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(Unknown, match=r"not answered for 2\.0 s"):
            await one.beat()
        assert loop.time() - began == pytest.approx(2.0, abs=0.06)

    living(story)


def test_what_is_compacted_leaves_a_gap() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        await one.claim(record("one", 1))
        for index in range(1, 10):
            await one.commit([puts(index, f"s{index}")])
        world.etcd.compact(world.etcd.revision)
        with pytest.raises(Gap):
            await follow(two, 1)
        loaded = await two.load()
        assert loaded.index == 9
        await one.beat()
        assert await follow(two, 1) == [FollowedCommit(9, ())]

    living(story)


def test_a_follower_waits_out_that_its_member_is_away() -> None:
    async def story(world: World) -> None:
        one, two, _ = world.backends
        await one.claim(record("one", 1))
        await follow(two, 1)
        world.etcd.set_member("b", cut=True)
        following = asyncio.create_task(follow(two, 1))
        await one.commit([puts(1, "web")])
        await asyncio.sleep(10)
        assert not following.done()
        world.etcd.set_member("b")
        assert await following == [FollowedCommit(1, (service("web"),))]

    living(story)


def test_a_store_larger_than_a_page_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.store.backends.etcd.backend._PAGE", 7)

    async def story(world: World) -> None:
        one, two, _ = world.backends
        await one.claim(record("one", 1))
        await one.commit([puts(1, *(f"s{number:03}" for number in range(100)))])
        loaded = await two.load()
        assert [each.id for each in loaded.objects] == [f"s{number:03}" for number in range(100)]
        assert loaded.leader == record("one", 1)

    living(story)


def test_etcd_sees_nothing_of_what_is_stored() -> None:
    async def story(world: World) -> None:
        one, *_ = world.backends
        await one.claim(record("one", 1))
        secret = Secret(id="x1", spec=SecretSpec(name="password", data=b"hunter2"))
        await one.commit([ChangeSet(1, (Change(None, secret),))])
        state = world.etcd.state(world.etcd.revision)
        assert len(state) == 3
        assert not any(word in each.value for each in state for word in (b"hunter2", b"password", b"2377"))
        with pytest.raises(NotOpened):
            await EtcdBackend(world.etcd.client("a"), "c1", AesSeal({1: b"x" * 32}, 1)).load()

    living(story)


def test_clusters_in_one_etcd_do_not_see_each_other() -> None:
    async def story(world: World) -> None:
        one, *_ = world.backends
        await one.claim(record("one", 1))
        await one.commit([puts(1, "web")])
        other = EtcdBackend(world.etcd.client("a"), "c10", Unsealed())
        loaded = await other.load()
        assert (loaded.index, loaded.objects, loaded.leader) == (0, [], None)

    living(story)


def test_who_meddles_with_the_position_deposes_the_leader() -> None:
    async def story(world: World) -> None:
        one, *_ = world.backends
        await one.claim(record("one", 1))
        await one.beat()
        (position,) = [each for each in world.etcd.state(world.etcd.revision) if each.key.endswith(b"position")]
        world.etcd.apply(Transaction((), (Put(position.key, position.value),)))
        with pytest.raises(Deposed, match="by something that is not this manager"):
            await one.beat()

    living(story)


def test_commits_are_of_a_size_that_keeps_a_leader_alive() -> None:
    backend = EtcdBackend(FakeEtcd(("a",), random.Random(1)).client("a"), "c1", SEAL)
    assert backend.share_of_commit(puts(1, *map(str, range(1_000)))) == pytest.approx(1.0)
    large = Secret(id="x", spec=SecretSpec(name="x", data=bytes(500_000)))
    assert 0.4 < backend.share_of_commit(ChangeSet(1, (Change(None, large),))) < 0.6
    assert backend.share_of_commit(ChangeSet(1, (Change(large, None),))) == pytest.approx(0.001)

"""A manager among others: what it must know before it answers a read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from common.clock import LoopClock
from common.errors import PermissionDenied, Unavailable
from common.model import Node, Service
from common.model.node import ManagerStatus, NodeSpec
from common.model.service import ServiceSpec
from common.tls import ROLE_MANAGER, Identity
from common.wire.channel import PeerInfo
from common.wire.manager_messages import CallerRecord, Forwarded, ForwardJoin, ManagerJoin, ManagerJoined, ReadAt
from common.wire.memory import memory_channel_pair
from common.wire.messages import PROTOCOL_VERSION
from manager.api.access.roles import Caller
from manager.daemon.leader import running
from manager.daemon.member_reconciler import JOIN_SECONDS
from manager.daemon.peers import PATIENCE_SECONDS, ManagerPeers
from manager.dispatch.links import ASK_SECONDS
from manager.dispatch.managers import KnownManagers
from manager.store.backend import Epoch, LeaderRecord, NotLeader
from manager.store.shared import SharedStore
from tests.fakes.shared_log import shared_stores
from tests.fakes.virtual_loop import run_virtual


class Doubts:
    """A leadership that cannot know whether it is still had, until it is `sure`."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self.sure = False

    def index(self) -> int:
        if not self.sure:
            raise NotLeader(None)
        return self._store.index


class Links:
    """Others' leader answers that it is at an index."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, leader_id: str, _: object) -> ReadAt:
        self.asked.append(leader_id)
        return ReadAt(index=2, epoch=(0, 2))


def put(name: str) -> Any:
    return lambda tx: tx.put(Service(id=name, spec=ServiceSpec(name=name)))


async def test_a_suspended_leader_hears_what_it_missed_first() -> None:
    async with shared_stores(2) as (own, other):
        leading: list[Any] = ["its dispatcher"]
        peers = ManagerPeers(
            own,
            LoopClock(),
            KnownManagers(own, "one:2377"),
            "one",
            dispatcher=lambda: leading[0],
            reconciler=lambda: None,
        )
        doubts, links = Doubts(own), Links()
        peers.leadership, peers.links = doubts, links  # type: ignore[assignment]
        assert await own.lead(LeaderRecord("one", Epoch(0, 1), "one:2377", "1.0"))
        await own.update(put("web"))
        doubts.sure = True
        assert await peers.catch_up() == ""
        assert links.asked == []

        doubts.sure = False
        await other.reached(1)
        assert await other.lead(LeaderRecord("two", Epoch(0, 2), "two:2377", "1.0"))
        await other.update(put("db"))
        reading = asyncio.create_task(peers.catch_up())
        await asyncio.sleep(0)
        assert not reading.done(), "what it has in memory may be old"
        leading[0] = None
        await own.step_down()
        assert await reading == ""
        assert [each.name for each in own.view.services] == ["web", "db"]
        assert links.asked == ["two"]


async def test_a_manager_that_joins_is_not_yet_unreachable() -> None:
    async with shared_stores(1) as (own,):
        known = KnownManagers(own, "own:2377")
        peers = ManagerPeers(own, LoopClock(), known, "own", dispatcher=lambda: None, reconciler=lambda: None)

        class OwnAlone:
            def reachable(self, node_id: str) -> bool:
                return node_id == "own"

        peers.links = OwnAlone()  # type: ignore[assignment]
        said = {}
        for name, awaited in (("own", False), ("joins", True), ("lost", False)):
            status = peers.status_of(Node(id=name, manager_status=ManagerStatus(awaited=awaited)))
            assert status is not None
            said[name] = status.reachability
    assert said == {"own": "reachable", "joins": "unknown", "lost": "unreachable"}


async def test_a_leader_is_lost_when_another_leads_or_none_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shared_stores(3) as (own, one, two):
        known = KnownManagers(own, "own:2377")
        peers = ManagerPeers(own, LoopClock(), known, "own", dispatcher=lambda: None, reconciler=lambda: None)
        assert await one.lead(LeaderRecord("one", Epoch(0, 1), "one:2377", "1.0"))
        await one.update(put("web"))
        await asyncio.gather(own.reached(1), two.reached(1))
        losing = asyncio.create_task(peers.leader_lost())
        await one.update(put("db"))
        await asyncio.gather(own.reached(2), two.reached(2))
        assert not losing.done()
        await two.lead(LeaderRecord("two", Epoch(0, 2), "two:2377", "1.0"))
        await losing
        await two.resign()
        monkeypatch.setattr("manager.daemon.peers._SILENT_SECONDS", 0.01)
        await peers.leader_lost()


def test_a_leader_that_only_shows_that_it_lives_is_not_lost() -> None:
    """As in a night without a change: what is followed through another manager goes on."""

    async def story() -> None:
        async with shared_stores(2) as (own, one):
            known = KnownManagers(own, "own:2377")
            peers = ManagerPeers(own, LoopClock(), known, "own", dispatcher=lambda: None, reconciler=lambda: None)
            assert await one.lead(LeaderRecord("one", Epoch(0, 1), "one:2377", "1.0"))
            await one.update(put("web"))
            await own.reached(1)
            losing = asyncio.create_task(peers.leader_lost())
            await asyncio.sleep(60.0)
            assert not losing.done()
            await one.step_down()
            await asyncio.sleep(11.0)
            assert losing.done()

    run_virtual(story())


def test_a_leader_that_does_not_serve_yet_is_asked_again_soon() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        served_at = loop.time() + 1.0

        class NewLeader:
            async def open_forward(self, leader_id: str, _: object) -> str:
                if loop.time() < served_at:
                    raise Unavailable("it does not lead yet")
                return leader_id

            def reachable(self, _: str) -> bool:
                return True

        async with shared_stores(2) as (own, one):
            known = KnownManagers(own, "own:2377")
            peers = ManagerPeers(own, LoopClock(), known, "own", dispatcher=lambda: None, reconciler=lambda: None)
            peers.links = NewLeader()  # type: ignore[assignment]
            assert await one.lead(LeaderRecord("one", Epoch(0, 1), "one:2377", "1.0"))
            await one.update(put("web"))
            await own.reached(1)
            connected = await peers.connect(Caller("tester", "unix"))
            assert connected == "one"  # type: ignore[comparison-overlap]
            assert loop.time() < served_at + 0.5

    run_virtual(story())


async def test_a_request_does_not_wait_for_a_leader_that_hangs() -> None:
    async with shared_stores(3) as (own, one, two):
        known = KnownManagers(own, "own:2377")
        peers = ManagerPeers(own, LoopClock(), known, "own", dispatcher=lambda: None, reconciler=lambda: None)
        dialled: list[str] = []
        hung = asyncio.Event()

        class HangingLinks:
            async def open_forward(self, leader_id: str, _: object) -> str:
                dialled.append(leader_id)
                if leader_id == "one":
                    hung.set()
                    await asyncio.Event().wait()
                return f"a connection to {leader_id}"

        peers.links = HangingLinks()  # type: ignore[assignment]
        assert await one.lead(LeaderRecord("one", Epoch(0, 1), "one:2377", "1.0"))
        await one.update(put("web"))
        await asyncio.gather(own.reached(1), two.reached(1))
        connecting = asyncio.create_task(peers.connect(Caller("tester", "unix")))
        await hung.wait()
        assert await two.lead(LeaderRecord("two", Epoch(0, 2), "two:2377", "1.0"))
        assert await connecting == "a connection to two"  # type: ignore[comparison-overlap]
        assert dialled == ["one", "two"]


@contextlib.asynccontextmanager
async def follower(links: Any) -> AsyncIterator[ManagerPeers]:
    """Run a manager that asks the leader, `one`, over these links."""
    async with shared_stores(2) as (own, one):
        known = KnownManagers(own, "own:2377")
        peers = ManagerPeers(own, LoopClock(), known, "own", dispatcher=lambda: None, reconciler=lambda: None)
        peers.links = links
        assert await one.lead(LeaderRecord("one", Epoch(0, 1), "one:2377", "1.0"))
        leader = Node(id="one", spec=NodeSpec(role="manager"), manager_status=ManagerStatus(addr="one:2377"))
        await one.update(lambda tx: tx.put(leader))
        await own.reached(1)
        known.refresh()
        yield peers


def test_a_join_through_a_follower_waits_for_etcd() -> None:
    """etcd takes one new member at a time: a host that joins beside another waits until that one has its vote."""
    request = ManagerJoin(
        protocol=PROTOCOL_VERSION,
        release="1.0",
        levels=(1, 1),
        token="a token",
        csr=b"",
        clock=0.0,
        hostname="three",
        addr="192.0.2.7:2377",
        peer_addr="192.0.2.7:2380",
        names=(),
    )
    joined = ManagerJoined(
        node_id="three",
        cluster_id="",
        certificate=b"",
        root_certificate=b"",
        keys={},
        current_key=0,
        root_key=b"",
        peers=(),
    )

    class BusyLeader:
        async def ask(self, leader_id: str, question: object, seconds: float = ASK_SECONDS) -> ManagerJoined:
            assert (leader_id, type(question)) == ("one", ForwardJoin)
            async with asyncio.timeout(seconds):
                await asyncio.sleep(JOIN_SECONDS - 1)
            return joined

    async def story() -> None:
        async with follower(BusyLeader()) as peers:
            assert await peers.join(request, "192.0.2.7", same_host=False) is joined

    run_virtual(story())


def test_a_leader_that_answers_no_question_is_named() -> None:
    class DeafLeader:
        async def ask(self, *_: object, **__: object) -> ReadAt:
            await asyncio.sleep(ASK_SECONDS)
            raise Unavailable("the manager at one:2377 did not answer within 10 s")

        def reachable(self, _: str) -> bool:
            return True

    async def story() -> None:
        async with follower(DeafLeader()) as peers:
            with pytest.raises(Unavailable, match="one:2377 did not answer"):
                await peers.note_step(1)
            assert asyncio.get_running_loop().time() < ASK_SECONDS + 1, "it is not asked again"

    run_virtual(story())


def test_a_connection_to_a_hung_leader_is_given_up() -> None:
    class HangingLinks:
        async def open_forward(self, *_: object) -> str:
            await asyncio.Event().wait()
            raise AssertionError

        def reachable(self, _: str) -> bool:
            return True

    async def story() -> None:
        async with follower(HangingLinks()) as peers:
            with pytest.raises(Unavailable, match="the leader did not answer within 3 s"):
                await peers.connect(Caller("tester", "unix"))
            assert asyncio.get_running_loop().time() < PATIENCE_SECONDS + 1

    run_virtual(story())


class Greeting(asyncio.Protocol):
    """A connection on which a caller's requests are served: greets the caller."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._caller.name.encode())
        transport.write_eof()


async def test_who_leads_by_then_serves_what_waited_itself() -> None:
    """A TLS handshake with itself for each is what a new leader has no time for."""
    async with shared_stores(1) as (own,):
        known = KnownManagers(own, "own:2377")
        leads: list[Any] = []
        peers = ManagerPeers(
            own, LoopClock(), known, "own", dispatcher=lambda: leads[0] if leads else None, reconciler=lambda: None
        )
        peers.protocol = Greeting
        connecting = asyncio.create_task(peers.connect(Caller("tester", "unix")))
        await asyncio.sleep(0)
        assert await own.lead(LeaderRecord("own", Epoch(0, 1), "own:2377", "1.0"))
        leads.append("its dispatcher")
        peers.note_leading()
        reader, writer = await connecting
        assert await reader.read() == b"tester"
        writer.close()


class Cut(asyncio.Protocol):
    """A connection on which requests are passed on: says when it is lost."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def test_what_a_manager_passes_on_ends_with_its_demotion() -> None:
    async with shared_stores(1) as (own,):
        assert await own.lead(LeaderRecord("own", Epoch(0, 1), "own:2377", "1.0"))
        nodes = [
            Node(
                id=name,
                spec=NodeSpec(role="manager"),
                manager_status=ManagerStatus(addr=name),
                manager_serials=("7",),
            )
            for name in ("two", "three")
        ]
        await own.update(lambda tx: [tx.put(each) for each in nodes])
        known = KnownManagers(own, "own:2377")
        peers = ManagerPeers(own, LoopClock(), known, "own", dispatcher=lambda: leader, reconciler=lambda: None)
        leader: Any = "its dispatcher"
        connections: list[Cut] = []

        def protocol(_: Caller) -> Cut:
            connections.append(Cut())
            return connections[-1]

        async def pass_on(manager: str) -> None:
            peer = PeerInfo(Identity(manager, ROLE_MANAGER, "cluster1", "7"))
            near, far = memory_channel_pair(peer)
            opening = Forwarded(caller=CallerRecord(name="tester", origin="unix"))
            await peers.take_request(far, opening, lambda: None)
            near.detach(asyncio.Protocol())

        peers.protocol = protocol
        async with running(known.run(), peers.end_demoted()):
            await pass_on("two")
            await pass_on("three")
            demoted = msgspec.structs.replace(nodes[0], spec=NodeSpec(role="worker"), manager_serials=())
            await own.update(lambda tx: tx.put(demoted))
            await connections[0].lost.wait()
            assert not connections[1].lost.is_set()
            with pytest.raises(PermissionDenied, match="demoted or removed"):
                await pass_on("two")
            assert len(connections) == 2

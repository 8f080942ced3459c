"""Links between managers over real TLS: whose certificate gets one, and what it is good for."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from common.clock import SystemClock
from common.errors import FailedPrecondition, PermissionDenied, SwarmError, Unavailable
from common.model import Cluster, Node, StoredObject
from common.model.node import ManagerStatus, NodeDescription, NodeSpec
from common.tls import ROLE_MANAGER, ROLE_WORKER, client_context
from common.wire.channel import Channel
from common.wire.client import ask_first, open_session
from common.wire.handshake import LedElsewhere, check_link, check_taken
from common.wire.manager_messages import CallerRecord, Elsewhere, Forwarded, Link, ReadAt, ReadIndex, WireEpoch
from common.wire.messages import PROTOCOL_VERSION, AnyMessage, Hello
from common.wire.server import Server, dial, serve
from manager.daemon.leader import running
from manager.dispatch.links import Answer, Links, OwnIdentity, Question, member_manager
from manager.dispatch.managers import KnownManagers
from manager.dispatch.reception import Reception
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.fakes.certificates import Pki
from tests.fakes.real_managers import free_address

LINK = Link(protocol=PROTOCOL_VERSION, release="1", clock=0.0, levels=(1, 1), epoch=(0, 1))
FORWARDED = Forwarded(caller=CallerRecord(name="uid 0", origin="unix"))


class FakePeers:
    """The manager m1, as far as others ask it: it leads, at index 7, unless `led` says who does."""

    def __init__(self) -> None:
        self.led: Elsewhere | None = None
        self.links: Links

    @property
    def epoch(self) -> WireEpoch:
        return 0, 3

    def elsewhere(self) -> Elsewhere | None:
        return self.led

    async def answer(self, question: Question, manager_id: str) -> Answer:
        assert (type(question), manager_id) == (ReadIndex, "m2")
        return ReadAt(epoch=self.epoch, index=7)

    async def link(self, channel: Channel, opening: Link, request_id: int, settle: Callable[[], None]) -> None:
        await self.links.serve(channel, opening, request_id, settle)

    async def take_request(self, channel: Channel, opening: Forwarded, settle: Callable[[], None]) -> None:
        raise NotImplementedError

    async def withdraw(self, *_: object) -> Elsewhere:
        raise NotImplementedError

    async def join(self, *_: object, **__: object) -> Elsewhere:
        raise NotImplementedError


class World:
    """The managers m1, which listens, and m2, and the worker w1; certificates have the serial 7."""

    def __init__(self, pki: Pki, store: Store, server: Server, peers: FakePeers) -> None:
        self.pki, self.store, self.server, self.peers = pki, store, server, peers

    def context(self, node_id: str, role: str, serial: str = "7") -> ssl.SSLContext:
        return client_context(self.pki.files(node_id, role, serial=serial))

    async def ask(self, question: Link | Forwarded, context: ssl.SSLContext) -> AnyMessage:
        channel = await dial("127.0.0.1", self.server.port, context)
        try:
            return await ask_first(channel, question)
        finally:
            await channel.close()

    async def change(self, node_id: str, **fields: object) -> None:
        node = self.store.view.nodes.get(node_id)
        assert node is not None
        await self.store.update(lambda tx: tx.put(msgspec.structs.replace(node, **fields)))

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[Links]:
        """Run the links of m2, until they are up."""
        address = f"127.0.0.1:{self.server.port}"
        await self.change("m1", manager_status=ManagerStatus(addr=address))
        known = KnownManagers(self.store, "127.0.0.2:2377")
        context = self.context("m2", ROLE_MANAGER)
        links = Links(
            OwnIdentity("m2", lambda: context, SystemClock()), known, self.store.view, FakePeers(), random.Random(1)
        )
        running = asyncio.gather(links.run(), known.run())
        try:
            async with asyncio.timeout(10):
                while not links.reachable("m1"):
                    await asyncio.sleep(0.005)
            yield links
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    pki, clock, peers = Pki(tmp_path), SystemClock(), FakePeers()
    async with Store(MemoryBackend(), clock) as store:
        managers = [
            Node(
                id=name,
                spec=NodeSpec(role="manager"),
                manager_status=ManagerStatus(addr=""),
                manager_serials=("7",),
            )
            for name in ("m1", "m2")
        ]
        worker = Node(id="w1", agent=True, certificate_serials=("7",))
        stored: list[StoredObject] = [Cluster(id="cluster1"), *managers, worker]
        await store.update(lambda tx: [tx.put(each) for each in stored])
        known, shown = KnownManagers(store, ""), OwnIdentity("m1", pki.server, clock)
        peers.links = Links(shown, known, store.view, peers, random.Random(1))
        reception = Reception(pki.authority, clock, lambda: None, peers)
        async with await serve("127.0.0.1", 0, pki.server(), reception.handle) as server:
            yield World(pki, store, server, peers)


async def test_a_managers_certificate_of_now_gets_a_link(world: World) -> None:
    welcome = check_link(await world.ask(LINK, world.context("m2", ROLE_MANAGER)))
    assert (welcome.epoch, welcome.protocol) == ((0, 3), PROTOCOL_VERSION)


@pytest.mark.parametrize(
    ("levels", "words"),
    [((1, 1), "up to 1, and the store has level 2"), ((3, 4), "from 3 on, and the store has level 2")],
)
async def test_a_manager_that_does_not_know_the_level_gets_no_link(
    world: World, levels: tuple[int, int], words: str
) -> None:
    await world.store.update(lambda tx: tx.put(msgspec.structs.replace(tx.cluster, store_level=2)))
    with pytest.raises(FailedPrecondition, match=words):
        check_link(await world.ask(msgspec.structs.replace(LINK, levels=levels), world.context("m2", ROLE_MANAGER)))


@pytest.mark.parametrize(
    ("node_id", "role", "serial", "words"),
    [
        ("w1", ROLE_WORKER, "7", "cannot be used as a manager's"),
        ("m2", ROLE_WORKER, "7", "cannot be used as a manager's"),
        ("m2", ROLE_MANAGER, "8", "is not a manager of this cluster with this certificate"),
        ("w1", ROLE_MANAGER, "7", "is not a manager of this cluster with this certificate"),
        ("m9", ROLE_MANAGER, "7", "is not a manager of this cluster with this certificate"),
    ],
)
async def test_no_other_certificate_does(world: World, node_id: str, role: str, serial: str, words: str) -> None:
    with pytest.raises(PermissionDenied, match=words):
        check_link(await world.ask(LINK, world.context(node_id, role, serial)))


async def test_a_workers_certificate_passes_no_request_on(world: World) -> None:
    with pytest.raises(PermissionDenied, match="cannot be used as a manager's"):
        check_taken(await world.ask(FORWARDED, world.context("w1", ROLE_WORKER)))


async def test_a_link_says_that_the_other_lives_and_asks_it(world: World) -> None:
    async with world.linked() as links:
        assert not links.reachable("m9")
        assert await links.ask("m1", ReadIndex()) == ReadAt(epoch=(0, 3), index=7)
        world.peers.led = Elsewhere(leader="c:2377")
        with pytest.raises(SwarmError, match="no longer leads"):
            await links.ask("m1", ReadIndex())


async def test_a_question_waits_as_long_as_it_may_take(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = asyncio.Event()

    async def answer(*_: object) -> ReadAt:
        await answered.wait()
        return ReadAt(epoch=(0, 3), index=8)

    monkeypatch.setattr(world.peers, "answer", answer)
    async with world.linked() as links:
        with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
            await links.ask("m1", ReadIndex(), 0.05)
        asked = asyncio.create_task(links.ask("m1", ReadIndex(), 60.0))
        answered.set()
        assert (await asked) == ReadAt(epoch=(0, 3), index=8)


async def test_who_is_back_is_dialled_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who dials is there: without that the others would know it again only after the longest of their pauses."""
    monkeypatch.setattr("manager.dispatch.links._RETRY_FIRST", 600.0)
    monkeypatch.setattr("manager.dispatch.links._RETRY_LIMIT", 600.0)
    with contextlib.ExitStack() as held:
        away = free_address(held)
    await world.change("m2", manager_status=ManagerStatus(addr=away))
    clock, context, back = SystemClock(), world.context("m1", ROLE_MANAGER), FakePeers()
    known = KnownManagers(world.store, "127.0.0.1:1")
    own = world.peers.links = Links(
        OwnIdentity("m1", lambda: context, clock), known, world.store.view, world.peers, random.Random(1)
    )
    back.links = Links(OwnIdentity("m2", lambda: context, clock), known, world.store.view, back, random.Random(1))
    reception = Reception(world.pki.authority, clock, lambda: None, back)
    async with running(own.run()), asyncio.timeout(10):
        while "no link to the manager" not in caplog.text:
            await asyncio.sleep(0.005)
        port = int(away.rpartition(":")[2])
        async with await serve("127.0.0.1", port, world.pki.server(), reception.handle), world.linked():
            while not own.reachable("m2"):
                await asyncio.sleep(0.005)


async def test_a_demoted_managers_link_is_worth_nothing_at_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.linked() as links:
        await world.change("m2", spec=NodeSpec(role="worker"), manager_serials=())
        with pytest.raises(SwarmError):
            await links.ask("m1", ReadIndex())
    assert "unexpected error" not in caplog.text
    identity = world.pki.files("m2", ROLE_MANAGER, serial="7").identity()
    with pytest.raises(PermissionDenied):
        member_manager(world.store.view, identity)


async def test_a_follower_says_who_leads_to_workers(world: World) -> None:
    world.peers.led = Elsewhere(leader="c:2377", managers=("a:2377", "c:2377"), epoch=(0, 3))
    hello = Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="alpha"))
    with pytest.raises(LedElsewhere) as caught:
        await open_session("127.0.0.1", world.server.port, world.context("w1", ROLE_WORKER), hello)
    assert caught.value.told == world.peers.led

"""The root is replaced under real workers over real TLS: none is lost, and the old root opens nothing in the end."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from common.clock import SystemClock
from common.errors import SwarmError, Unauthenticated, Unavailable
from common.model import Cluster, Node, RootKey
from common.model.authority import RotationPhase
from common.model.node import ManagerStatus
from common.tls import ROLE_WORKER, CredentialFiles, Identity, certificate_request, client_context, new_key, root_digest
from common.wire.client import JoinTerms, join, open_session
from common.wire.messages import PROTOCOL_VERSION, Hello
from common.wire.server import serve
from manager.ca.authority import Authority, create_root
from manager.ca.files import ManagerFiles
from manager.ca.rotation import begin, root_of
from manager.ca.tokens import new_tokens
from manager.config import ManagerConfig
from manager.daemon.certificate import OwnCertificate
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.managers import KnownManagers
from manager.dispatch.reception import Reception
from manager.loops.loop import Loop
from manager.loops.root_rotation import root_rotation_rule
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import ChangeSet
from manager.store.store import Store
from tests.fakes.tls_worker import join_host, tls_worker

CLOCK = SystemClock()


class World:
    """A manager's parts that have to do with certificates, at a real port."""

    def __init__(self, store: Store, folder: Path, port: int, certificate: OwnCertificate) -> None:
        self.store = store
        self.folder = folder
        self.port = port
        self.certificate = certificate
        self._rng = random.Random(1)

    @property
    def root(self) -> RootKey:
        root = root_of(self.store.view)
        assert root is not None
        return root

    async def join(self, name: str) -> CredentialFiles:
        """Let a host join with the token of now; return its files."""
        token = self.store.view.cluster.join_tokens.worker
        return await join_host(f"127.0.0.1:{self.port}", token, self.folder / name)

    @asynccontextmanager
    async def worker(self, files: CredentialFiles) -> AsyncIterator[None]:
        """Run a worker whose certificate is in these files."""
        node_id = files.identity().node_id
        async with tls_worker(files, (f"127.0.0.1:{self.port}",), self._rng):
            await self.until(lambda: self.state(node_id) == "ready")
            yield

    def state(self, node_id: str) -> str:
        node = self.store.view.nodes.get(node_id)
        return node.status.state if node is not None else ""

    def step(self, node_id: str) -> int:
        node = self.store.view.nodes.get(node_id)
        return node.certificate_step if node is not None else 0

    async def rotate(self) -> None:
        fresh = create_root("cluster1", CLOCK.now())
        await self.store.update(lambda tx: tx.put(begin(tx, fresh)))

    async def until(self, holds: Callable[[], bool]) -> None:
        with self.store.watch() as changes:
            while not holds():
                await changes.next()

    async def hello(self, context: ssl.SSLContext) -> None:
        """Open a session, as a worker with such a context does."""
        hello = Hello(protocol=PROTOCOL_VERSION, description=self.store.view.nodes.get("m1").description)  # type: ignore[union-attr]
        channel, _ = await open_session("127.0.0.1", self.port, context, hello)
        await channel.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    rng = random.SystemRandom()
    root = create_root("cluster1", CLOCK.now())
    config = ManagerConfig(node_id="m1", advertise_addr="127.0.0.1:2377", listen_addr="127.0.0.1:0")
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(MemoryBackend(), CLOCK))
        cluster = Cluster(
            id="cluster1",
            join_tokens=new_tokens(root_digest(root.certificate), rng),
            root_certificate=root.certificate.decode(),
        )
        manager = Node(id="m1", manager_status=ManagerStatus(leader=True))
        await store.update(lambda tx: [tx.put(each) for each in (root, cluster, manager)])
        authority = Authority.stored(store.view)
        certificate = OwnCertificate(lambda: ManagerFiles(tmp_path / "m1"), authority, config, CLOCK, rng)
        certificate.open(store)
        dispatcher = Dispatcher(store, authority, CLOCK, rng, manager_id="m1", managers=KnownManagers(store, ""))
        jobs = [
            asyncio.create_task(each)
            for each in (
                dispatcher.run(),
                certificate.follow_authority(store),
                Loop(root_rotation_rule(), store, CLOCK, rng).run(),
            )
        ]
        reception = Reception(authority, CLOCK, lambda: dispatcher)
        server = await stack.enter_async_context(
            await serve("127.0.0.1", 0, certificate.cluster, reception.handle, reception.admission)
        )
        yield World(store, tmp_path, server.port, certificate)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


class FullDisk(MemoryBackend):
    """A backend that takes nothing while it is `full`."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.refused = asyncio.Event()

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        if self.full:
            self.refused.set()
            raise Unavailable("the disk is full")
        await super().commit(change_sets)


async def test_a_step_is_noted_once_the_store_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else changes meanwhile: the rotation, and all that waits for it, would stand still."""
    monkeypatch.setattr("manager.daemon.certificate.FOLLOW_AGAIN_SECONDS", 0.01)
    config = ManagerConfig(node_id="m1", advertise_addr="127.0.0.1:2377", listen_addr="127.0.0.1:0")
    disk = FullDisk()
    async with Store(disk, CLOCK) as store, asyncio.timeout(10):
        root = create_root("cluster1", CLOCK.now())
        manager = Node(id="m1", manager_status=ManagerStatus(leader=True))
        await store.update(lambda tx: [tx.put(each) for each in (root, Cluster(id="cluster1"), manager)])
        files, authority = ManagerFiles(tmp_path / "m1"), Authority.stored(store.view)
        certificate = OwnCertificate(lambda: files, authority, config, CLOCK, random.SystemRandom())
        certificate.open(store)
        await store.update(lambda tx: tx.put(begin(tx, create_root("cluster1", CLOCK.now()))))
        disk.full = True
        with store.watch() as changes:
            following = asyncio.create_task(certificate.follow_authority(store))
            await disk.refused.wait()
            disk.full = False
            await changes.next()
        node = store.view.nodes.get("m1")
        assert node is not None
        assert node.manager_status is not None
        assert node.manager_status.certificate_step == authority.step
        following.cancel()


async def test_no_worker_is_lost_and_the_old_root_opens_nothing(world: World, tmp_path: Path) -> None:
    old, old_token = world.root, world.store.view.cluster.join_tokens.worker
    files = [await world.join(f"w{number}") for number in range(4)]
    before = [each.node.read_bytes() for each in files]
    async with AsyncExitStack() as workers:
        for each in files:
            await workers.enter_async_context(world.worker(each))
        await world.rotate()
        await world.until(lambda: world.root.phase is RotationPhase.NONE)
        new = world.root
        assert new.certificate != old.certificate
        assert world.store.view.cluster.root_certificate == new.certificate.decode()
        nodes = [each.identity().node_id for each in files]
        await world.until(lambda: all(world.step(node_id) >= new.step for node_id in nodes))
        assert {world.state(node_id) for node_id in nodes} == {"ready"}
    for each, certificates in zip(files, before, strict=True):
        assert each.node.read_bytes() != certificates
        assert each.root.read_bytes() == new.certificate
        await world.hello(client_context(each))

    # What the old root has signed, and what its key could sign, opens nothing; nor does its token.
    late = CredentialFiles(tmp_path / "late")
    key = new_key()
    serial = world.store.view.nodes.get(files[0].identity().node_id).certificate_serials[-1]  # type: ignore[union-attr]
    identity = Identity(files[0].identity().node_id, ROLE_WORKER, "cluster1", serial)
    forged = Authority(RootKey(certificate=old.certificate, key=old.key)).issue(
        certificate_request(key), identity, 10**15, CLOCK.now()
    )
    late.write(forged, key, new.certificate)
    with pytest.raises((Unauthenticated, Unavailable)):  # the handshake fails: told why, or cut off
        await world.hello(client_context(late))
    with pytest.raises(Unauthenticated):
        await join("127.0.0.1", world.port, old_token, JoinTerms(hostname="late"), CLOCK)
    async with world.worker(await world.join("w9")):
        assert (tmp_path / "w9" / "root.crt").read_bytes() == new.certificate


async def test_who_is_away_is_waited_for_and_comes_back(world: World) -> None:
    here, away = await world.join("here"), await world.join("away")
    away_id = away.identity().node_id
    async with world.worker(here):
        async with world.worker(away):
            pass
        await world.rotate()
        await world.until(lambda: world.step(here.identity().node_id) == 1)
        assert world.root.phase is RotationPhase.TRUST
        with pytest.raises(SwarmError, match="is being rotated already; waiting for certificates of: away"):
            await world.rotate()
        # A host that joins meanwhile, with the token of before, is a member like all.
        async with world.worker(await world.join("joins")), world.worker(away):
            await world.until(lambda: world.root.phase is RotationPhase.NONE)
            assert world.state(away_id) == "ready"


async def test_a_manager_that_restarts_believes_both_roots(world: World) -> None:
    await world.join("here")
    await world.rotate()
    await world.until(lambda: manager_step(world) == 1)
    for file in (world.folder / "m1" / "certificates").iterdir():
        file.unlink()
    again = OwnCertificate(
        lambda: ManagerFiles(world.folder / "m1"),
        Authority.stored(world.store.view),
        ManagerConfig(node_id="m1", advertise_addr="127.0.0.1:2377", listen_addr="127.0.0.1:0"),
        CLOCK,
        random.SystemRandom(),
    )
    again.open(world.store)
    assert world.root.phase is RotationPhase.TRUST
    assert (world.folder / "m1" / "certificates" / "root.crt").read_bytes() == world.root.trusted


def manager_step(world: World) -> int:
    node = world.store.view.nodes.get("m1")
    return node.manager_status.certificate_step if node is not None and node.manager_status is not None else 0


def test_a_root_shows_no_key() -> None:
    root = create_root("cluster1", CLOCK.now())
    assert "PRIVATE" not in repr(msgspec.structs.replace(root, next_key=root.key))

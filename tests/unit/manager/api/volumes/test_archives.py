"""Archives of volumes between a client and a worker: the worker's processes are real, its engine is not."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import SwarmError, Unavailable
from common.model import StoredObject
from common.model.volume import volume_id
from common.wire.volume_copy import CONTROL
from manager.api.call import Call, Relay
from tests.fakes.api_client import ADMIN, Answered, Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.container_engine import Engines
from tests.fakes.volume_host import Host
from tests.fakes.volumes import claim, copy, service
from tests.unit.worker.volumes.copy.trees import look, scratch
from worker.interfaces.volumes import Mark

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="archives keep owners: they are made as root")
DB = service("db", "data")


class Sent(Answered):
    """A client that sends a body in pieces; of an error that is one of them, its connection breaks."""

    has_body = True

    def __init__(self, *pieces: bytes | Exception) -> None:
        super().__init__()
        self._pieces = pieces

    async def body(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Workers:
    """Both nodes' workers. `cut` may end a stream of bytes."""

    def __init__(self, cluster: ApiCluster, engines: Engines, folder: Path) -> None:
        self.cluster = cluster
        self.engines = engines
        self.hosts = {WORKER1: Host(folder / "one"), WORKER2: Host(folder / "two")}
        self.cut: Callable[[asyncio.StreamWriter], None] = lambda _: None
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self, node_id: str, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, its = socket.socketpair()
        near, far = await asyncio.open_connection(sock=ours), await asyncio.open_connection(sock=its)
        transfers = self.hosts[node_id].transfers
        self._serving.add(asyncio.create_task(transfers.control(far) if target == CONTROL else transfers.data(far)))
        if target != CONTROL:
            self.cut(far[1])
        return near

    async def made(self, node_id: str) -> Path:
        """Let a node have a volume `data` with something in it."""
        host = self.hosts[node_id]
        await host.mark(3)
        (host.data() / "file").write_bytes(os.urandom(2_000_000))
        engine = self.engines.one if node_id == WORKER1 else self.engines.two
        engine.volumes.add("data")
        engine.answers["GET /volumes/data"] = (200, {"Name": "data"})
        return host.data()

    async def call(self, method: str, reference: str, exchange: Answered) -> Answered:
        reply = await self.cluster.api.answer(Call(method, f"/swarm/volumes/{reference}/archive", caller=ADMIN))
        assert isinstance(reply, Relay), reply
        await reply.run(exchange)
        return exchange

    async def ended(self) -> None:
        """Wait until the workers have done with all streams, and have cleared up."""
        async with asyncio.timeout(20):
            await asyncio.gather(*self._serving, return_exceptions=True)


@pytest.fixture
async def workers(cluster: ApiCluster) -> AsyncIterator[Workers]:
    with scratch() as folder:
        async with Engines(cluster) as engines:
            workers = Workers(cluster, engines, folder)
            object.__setattr__(engines, "volumes", workers.open)
            yield workers
            await workers.ended()


async def put(cluster: ApiCluster, *values: StoredObject) -> None:
    await cluster.store.update(lambda tx: [tx.put(value) for value in values])


async def test_what_was_backed_up_is_restored(cluster: ApiCluster, workers: Workers) -> None:
    source = await workers.made(WORKER1)
    archive = (await workers.call("GET", "data", Answered())).data
    half = len(archive) // 2
    done = await workers.call("PUT", "w2/other", Sent(archive[:half], archive[half:]))
    assert (done.status, json.loads(done.data)) == (201, {"Name": "other", "Node": "w2", "Bytes": len(archive)})
    assert look(workers.hosts[WORKER2].data("other")) == look(source)
    known = cluster.store.view.volumes.get(volume_id(WORKER2, "other"))
    assert known is not None
    assert (known.generation, known.eligible) == (1, True)


async def test_a_slot_goes_on_with_what_was_restored(cluster: ApiCluster, workers: Workers) -> None:
    await workers.made(WORKER2)
    archive = (await workers.call("GET", "data", Answered())).data
    lost = copy(WORKER1, "data", missing_since=5.0, role="")
    await put(cluster, DB, claim("db.1", "data", WORKER1), lost)
    await workers.call("PUT", "w1/data", Sent(archive))
    found = cluster.store.view.volumes.get(lost.id)
    assert found is not None
    assert (found.missing_since, found.data_id != lost.data_id) == (0.0, True)
    assert await workers.hosts[WORKER1].marked() == Mark(found.data_id, found.generation)


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ((b"",), "it is empty, or ends too early"),
        ((b"no archive" * 1000,), "this is not a complete tar archive"),
        ((b"\0" * 100, Unavailable("the client is gone")), "the client is gone"),
    ],
)
async def test_a_body_that_is_no_archive_makes_no_volume(workers: Workers, pieces: Any, why: str) -> None:
    with pytest.raises(SwarmError, match=why):
        await workers.call("PUT", "w1/data", Sent(*pieces))
    await workers.ended()
    assert await workers.hosts[WORKER1].volume("data") is None


async def test_a_worker_that_is_lost_makes_no_volume(cluster: ApiCluster, workers: Workers) -> None:
    workers.cut = lambda writer: writer.transport.abort()
    with pytest.raises(SwarmError):
        await workers.call("PUT", "w1/data", Sent(b"\0" * 100_000, b"\0" * 100_000))
    await workers.ended()
    assert await workers.hosts[WORKER1].volume("data") is None
    assert not cluster.store.view.volumes.get(volume_id(WORKER1, "data"))


@pytest.mark.parametrize(
    ("method", "reference", "status", "why"),
    [
        ("GET", "none", 404, "no such volume"),
        ("GET", "w9/data", 404, "there is no node w9"),
        ("PUT", "data", 400, "write NODE/data"),
        ("PUT", "w1/da%20ta", 400, "not a valid volume name"),
    ],
)
async def test_what_cannot_be_is_refused(
    workers: Workers, client: Client, method: str, reference: str, status: int, why: str
) -> None:
    found, message = await client.error(method, f"/swarm/volumes/{reference}/archive")
    assert found == status
    assert why in message


async def test_a_volume_that_is_there_is_not_restored_over(workers: Workers) -> None:
    source = await workers.made(WORKER1)
    before = look(source)
    with pytest.raises(SwarmError, match="is on this host already"):
        await workers.call("PUT", "w1/data", Sent(b"\0" * 10_240))
    assert look(source) == before


async def test_a_name_alone_means_the_copy_that_counts(cluster: ApiCluster, workers: Workers) -> None:
    await workers.made(WORKER1)
    await workers.made(WORKER2)
    await put(cluster, copy(WORKER1, "data", role="retired"), copy(WORKER2, "data"))
    (workers.hosts[WORKER2].data() / "file").write_bytes(b"the newest")
    assert b"the newest" in (await workers.call("GET", "data", Answered())).data
    assert b"the newest" not in (await workers.call("GET", "w1/data", Answered())).data

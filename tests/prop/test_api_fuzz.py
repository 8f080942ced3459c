"""Malformed requests for every route: all are answered, none by an internal error or not at all; memory stays flat.

Of two nodes one has an engine that answers wrongly (`tests/hostile`). A run sends 15,000 requests, always the same.
`SWARM_FUZZ_CALLS=200000 tests/run prop -k malformed -s` sends more and shows what was answered; SWARM_FUZZ_SEED=N makes
them others.
"""

import asyncio
import logging
import os
import random
import resource
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from manager.api.call import Answer, Call, Relay, Reply, Stream
from manager.api.router import Route
from tests.fakes.api_cluster import ApiCluster
from tests.fakes.container_engine import ContainerEngine, Engines, Request
from tests.hostile.evil_engine import EvilEngine
from tests.prop.api_requests import Mutator, every_route, patterns

CALLS = int(os.environ.get("SWARM_FUZZ_CALLS", "15000"))
SEED = int(os.environ.get("SWARM_FUZZ_SEED", "1"))
CHUNK = 250
# Of the calls, how many are for routes that ask engines.
SHARE = 0.2
HANGS = 20.0
GROWTH_KIB = 64 * 1024
CLUSTERS_OWN = ("ingress",)
# What Docker answers with 500, too: the client's version of an object is not the newest.
STALE = {"message": "rpc error: code = Unknown desc = update out of sequence"}


class OddEngine(ContainerEngine):
    """An engine that mostly answers, and sometimes with an error, or hangs up."""

    def __init__(self, *args: Any, seed: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self._rng = random.Random(seed)
        self.talk = self._echo

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1000))

    def _answer(self, request: Request) -> tuple[int, Any]:
        chance = self._rng.random()
        if chance < 0.05:
            raise ConnectionResetError
        if chance < 0.15:
            return self._rng.choice((400, 404, 409, 503)), {"message": "the engine says no"}
        return super()._answer(request)


class WrongEngine(EvilEngine):
    """An evil engine that does not answer 500 itself, as that is passed on: any 500 is the manager's own."""

    def answer(self, request: Request) -> bytes:
        return super().answer(request).replace(b"HTTP/1.1 500", b"HTTP/1.1 503", 1)


class Client:
    """The client's end of a relayed request; it closes its half at once where the connection is taken over."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.status = 0

    @property
    def has_body(self) -> bool:
        return bool(self._data)

    async def body(self) -> AsyncIterator[bytes]:
        yield self._data

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status

    async def send(self, data: bytes) -> None:
        assert self.status, "an answer's body before its head"

    async def take_over(self, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.status = int(head.split(b" ")[1])
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.send(b"input")
        return await asyncio.open_connection(sock=ours)


class Fuzzed:
    """A cluster of an odd engine and an evil one; counts what it answers, and keeps what it should never say."""

    def __init__(self, cluster: ApiCluster) -> None:
        self.cluster = cluster
        self.statuses: Counter[int] = Counter()
        self.bugs: list[tuple[Call, Any]] = []
        self.engines = Engines(cluster)
        self.engines.one = OddEngine(cluster.folder / "one.sock", seed=1)
        self.engines.two = WrongEngine(cluster.folder / "two.sock", seed=2, others=("a" * 64, "box", "v"))
        self.engines._by_node = dict(zip(self.engines._by_node, (self.engines.one, self.engines.two), strict=True))

    async def one(self, route: Route, call: Call) -> None:
        asked = call.with_body(b"") if route.raw else call
        try:
            async with asyncio.timeout(HANGS):
                reply = await self.cluster.api.answer(asked)
                status = await self.finished(call, reply)
        except TimeoutError:
            self.bugs.append((call, "it hangs"))
            return
        self.statuses[status] += 1

    async def finished(self, call: Call, reply: Reply) -> int:
        """Do with a reply what the server does; return its status."""
        if isinstance(reply, Stream):
            await run(reply)
            return reply.status
        if isinstance(reply, Relay):
            client = Client(call.body)
            try:
                await reply.run(client)
            except ConnectionError:
                return client.status or 503
            except Exception as error:  # noqa: BLE001  # as the server does
                status = self.judged(call, self.cluster.api.failure(call, error))
                return client.status or status
            return client.status
        return self.judged(call, reply)

    def judged(self, call: Call, answer: Answer) -> int:
        msgspec.json.encode(None if isinstance(answer.value, bytes) else answer.value)
        if answer.status == 500 and answer.value != STALE:
            self.bugs.append((call, answer.value))
        return answer.status

    async def clean(self) -> None:
        """Take away what was made, so that memory tells of leaks alone."""

        def remove(tx: Any) -> None:
            for table in (tx.services, tx.secrets, tx.configs, tx.networks):
                for value in [value for value in table if value.name not in CLUSTERS_OWN]:
                    tx.remove(value)
            for certificate in list(tx.client_certificates):
                tx.remove(certificate)

        await self.cluster.store.update(remove)
        self.cluster.audited.clear()
        for number, engine in enumerate((self.engines.one, self.engines.two)):
            engine.requests.clear()
            engine.versions.clear()
            engine.containers.clear()
            engine.volumes = {"v"}
            engine.add("ac"[number] * 64, ("box", "other")[number])


async def run(reply: Stream) -> None:
    async def send(data: bytes) -> None:
        pass

    producing = asyncio.ensure_future(reply.produce(send))
    # An event stream ends when its client goes.
    _, unfinished = await asyncio.wait({producing}, timeout=0.02 if reply.endless else HANGS)
    producing.cancel()
    await asyncio.wait({producing})
    assert reply.endless or not unfinished
    if not producing.cancelled():
        producing.result()


def resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture
async def fuzzed() -> AsyncIterator[Fuzzed]:
    async with ApiCluster(idle=True) as cluster:
        fuzzed = Fuzzed(cluster)
        async with fuzzed.engines:
            yield fuzzed


@pytest.mark.timeout(60 + CALLS // 100)
async def test_malformed_requests(fuzzed: Fuzzed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    mutator = Mutator(SEED, SHARE)
    met: set[tuple[str, str]] = set()
    after_warm_up = 0
    began = time.monotonic()
    for number in range(CALLS // CHUNK):
        await fuzzed.clean()
        calls = [mutator.call() for _ in range(CHUNK)]
        met |= patterns(route for route, _ in calls)
        await asyncio.gather(*(fuzzed.one(route, call) for route, call in calls))
        if number == 20:
            after_warm_up = resident_kib()
    print(f"\n{CALLS} in {time.monotonic() - began:.1f} s: {sorted(fuzzed.statuses.items())}")
    assert not fuzzed.bugs, fuzzed.bugs[:3]
    assert met == patterns(route for route in every_route() if route.pattern != "/swarm/leave")
    assert fuzzed.statuses.total() == CALLS
    # Many are right, so that what is behind the checks is reached as well.
    assert fuzzed.statuses[200] > CALLS // 10
    assert fuzzed.statuses[201] > CALLS // 100
    assert fuzzed.statuses[400] > CALLS // 10
    assert resident_kib() - after_warm_up < GROWTH_KIB

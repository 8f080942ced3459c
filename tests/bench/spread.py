"""How soon every host's rules have a change: `nft monitor` on each tells when the kernel had it, so nobody polls."""

from __future__ import annotations

import asyncio
import statistics
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

from tests.bench.table import print_table
from tests.e2e.cluster import Cluster
from tests.lab import Host

PORT = 8090
CHAIN = f" m_tcp_{PORT} "
PATIENCE_SECONDS = 20.0
# The tables of both families are written one after the other: what comes this soon after belongs to it.
BURST_SECONDS = 0.5


class Monitor:
    """`times`: when (wall clock, seconds) rules of the measured service's chain were changed on a host."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._news = asyncio.Event()

    async def read(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            if CHAIN in line.decode():
                self.times.append(time.time())
                self._news.set()

    async def changed_after(self, instant: float) -> float:
        """Return when the last change of the first burst after an instant came."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(each >= instant for each in self.times):
                self._news.clear()
                await self._news.wait()
        await asyncio.sleep(BURST_SECONDS)
        first = min(each for each in self.times if each >= instant)
        return max(each for each in self.times if first <= each <= first + BURST_SECONDS)


async def show_spread(swarm: Cluster, rounds: int) -> None:
    """Measure with a service of its own, one replica more and one less in turn, and print."""
    options = ("--no-resolve-image", "--name", "spread", "--replicas", "2", "-p", f"{PORT}:80", "--stop-signal", "KILL")
    await swarm.swarm("service", "create", "-q", "--detach", *options, "web:lab")
    await swarm.running("spread", 2)
    await asyncio.sleep(1)
    more: list[float] = []
    fewer: list[float] = []
    async with AsyncExitStack() as stack:
        monitors = [await stack.enter_async_context(_monitor(host)) for host in swarm.hosts]
        for _ in range(rounds):
            more.append(await _one_more(swarm, monitors))
            fewer.append(await _one_less(swarm, monitors))
    await swarm.swarm("service", "rm", "spread")
    rows = [
        (what, statistics.median(each), max(each))
        for what, each in (("a task runs, by its worker's clock", more), ("scaled down, by the API's answer", fewer))
    ]
    notes = (
        f"{rounds} rounds; until the last of {len(swarm.hosts)} hosts has it in its kernel",
        "wanted: under 100 ms",
    )
    print_table("A change reaches all hosts' rules", ("since", "median ms", "longest ms"), rows, notes)


async def _one_more(swarm: Cluster, monitors: Sequence[Monitor]) -> float:
    """Return the milliseconds from the moment that the new task ran."""
    before = {task["ID"] for task in await swarm.tasks("spread")}
    start = await _scale(swarm, 3)
    tasks = await swarm.running("spread", 3)
    (new,) = [task for task in tasks if task["ID"] not in before]
    ran = datetime.fromisoformat(new["Status"]["Timestamp"]).timestamp()
    return await _reached(monitors, start) * 1000 - ran * 1000


async def _one_less(swarm: Cluster, monitors: Sequence[Monitor]) -> float:
    """Return the milliseconds from the API's answer; a host may be quicker than that."""
    before = time.time()
    answered = await _scale(swarm, 2)
    reached = await _reached(monitors, before)
    await swarm.running("spread", 2)
    return (reached - answered) * 1000


async def _reached(monitors: Sequence[Monitor], instant: float) -> float:
    return max(await asyncio.gather(*(monitor.changed_after(instant) for monitor in monitors)))


async def _scale(swarm: Cluster, replicas: int) -> float:
    """Return when the API has answered."""
    service: dict[str, Any] = await swarm.get("/services/spread")
    spec = {**service["Spec"], "Mode": {"Replicated": {"Replicas": replicas}}}
    await swarm.request("POST", f"/services/{service['ID']}/update?version={service['Version']['Index']}", spec)
    return time.time()


@asynccontextmanager
async def _monitor(host: Host) -> AsyncIterator[Monitor]:
    process = await asyncio.create_subprocess_exec(*host.enter, "stdbuf", "-oL", "nft", "monitor", stdout=PIPE)
    assert process.stdout is not None
    monitor = Monitor()
    reading = asyncio.create_task(monitor.read(process.stdout))
    try:
        yield monitor
    finally:
        # The command that enters the host is the parent of nft, which the host's end takes along.
        reading.cancel()
        process.kill()
        await asyncio.wait({reading})

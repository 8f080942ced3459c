"""Deploy: a service on three real engines until all run, and until all are gone, beside the engines alone.

Both sides are the same run: three engines of one lab, the same image, no network of a cluster. Alone means: create and
start every container through its engine's API, a few at a time, and remove them; the width counts that was quickest
with both, as medians: the quickest with each would be the luckier of several, as they differ less than two rounds do.
Ours means: `POST /services/create` until the API shows every task running, and `DELETE /services/…`. The API is not
asked before the engines have said that all are started, as asking takes the manager's time. Removed is what the engines
say is destroyed, on both sides; then the API may show no task any more, and no container may be left. A round is each
width once, and ours; the median of each counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp

from tests.bench.table import print_table
from tests.e2e.cluster import Cluster

SIZES = (12, 30, 60)
WIDTHS = (2, 4, 8)
# At least; a small size has more rounds, as its time varies more and costs less.
ROUNDS, CONTAINERS = 7, 288
TARGET = 1.10
IMAGE = "web:lab"
# Between two looks at the API, when the engines have said that all is done.
PAUSE = 0.005
PATIENCE = 60.0
# Seconds until all run, and until all are gone.
Times: TypeAlias = tuple[float, float]


def engine(socket: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(base_url="http://engine", connector=aiohttp.UnixConnector(path=str(socket)))


async def call(http: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
    async with http.request(method, path, json=body) as answer:
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
        return await answer.json() if answer.content_type == "application/json" else None


async def each(width: int, jobs: Sequence[Any], work: Any) -> list[Any]:
    """Do the work for all jobs, `width` at a time."""
    gate = asyncio.Semaphore(width)

    async def one(job: Any) -> Any:
        async with gate:
            return await work(job)

    return await asyncio.gather(*map(one, jobs))


@asynccontextmanager
async def told(engines: Sequence[aiohttp.ClientSession], event: str, count: int) -> AsyncIterator[Awaitable[object]]:
    """Listen to the engines; yield what is done when they have told so many times of a container's event."""
    done, left = asyncio.Event(), count

    async def listen(http: aiohttp.ClientSession, open_now: asyncio.Event) -> None:
        nonlocal left
        query = {"filters": json.dumps({"type": ["container"], "event": [event]})}
        async with http.get("/events", params=query, timeout=aiohttp.ClientTimeout()) as answer:
            open_now.set()
            async for _ in answer.content:
                left -= 1
                if not left:
                    done.set()

    ready = [asyncio.Event() for _ in engines]
    listeners = [asyncio.create_task(listen(http, event_open)) for http, event_open in zip(engines, ready, strict=True)]
    try:
        await asyncio.gather(*(event_open.wait() for event_open in ready))
        yield asyncio.wait_for(done.wait(), PATIENCE)
    finally:
        for listener in listeners:
            listener.cancel()
        await asyncio.wait(listeners)


async def directly(engines: Sequence[aiohttp.ClientSession], count: int, width: int) -> Times:
    """Return the seconds to start `count` containers over the engines, and to remove them."""

    async def start(http: aiohttp.ClientSession) -> tuple[aiohttp.ClientSession, str]:
        made = await call(http, "POST", "/containers/create", {"Image": IMAGE})
        await call(http, "POST", f"/containers/{made['Id']}/start")
        return http, made["Id"]

    async def stop(made: tuple[aiohttp.ClientSession, str]) -> None:
        http, container = made
        await call(http, "POST", f"/containers/{container}/stop")
        await call(http, "DELETE", f"/containers/{container}?v=true")

    shares = [[http] * len(range(n, count, len(engines))) for n, http in enumerate(engines)]
    began = time.perf_counter()
    made = await asyncio.gather(*[each(width, share, start) for share in shares])
    took = time.perf_counter() - began
    async with told(engines, "destroy", count) as all_destroyed:
        began = time.perf_counter()
        await asyncio.gather(all_destroyed, *[each(width, share, stop) for share in made])
        return took, time.perf_counter() - began


async def by_service(cluster: Cluster, engines: Sequence[aiohttp.ClientSession], count: int) -> Times:
    """Return the seconds until a service of `count` replicas runs, and until it is gone."""
    manager = engine(Path(cluster.api.removeprefix("unix://")))
    spec = {
        "Name": "bench",
        "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}},
        "Mode": {"Replicated": {"Replicas": count}},
    }

    async def all_run() -> bool:
        (service,) = await call(manager, "GET", "/services?status=true")
        return service["ServiceStatus"]["RunningTasks"] == count

    async def all_gone() -> bool:
        return not await call(manager, "GET", "/tasks")

    async with manager:
        async with told(engines, "start", count) as all_started:
            began = time.perf_counter()
            await call(manager, "POST", "/services/create", spec)
            await all_started
            await cluster.until(all_run, PATIENCE, pause=PAUSE)
            took = time.perf_counter() - began
        async with told(engines, "destroy", count) as all_destroyed:
            began = time.perf_counter()
            await call(manager, "DELETE", "/services/bench")
            await all_destroyed
            gone = time.perf_counter() - began
        await cluster.until(all_gone, PATIENCE, pause=PAUSE)
        for http in engines:
            if left := await call(http, "GET", "/containers/json?all=true"):
                raise RuntimeError(f"no task is left, but {len(left)} containers are: {left[0]}")
        return took, gone


async def measure(sizes: Sequence[int], rounds: int) -> list[list[object]]:
    rows: list[list[object]] = []
    async with Cluster("bench") as cluster:
        engines = [engine(host.docker_sock) for host in cluster.hosts]
        try:
            await directly(engines, 6, 4)  # what is only slow the first time
            for count in sizes:
                direct: dict[int, list[Times]] = {width: [] for width in WIDTHS}
                ours: list[Times] = []
                for _ in range(max(rounds, CONTAINERS // count)):
                    for width, times in direct.items():
                        times.append(await directly(engines, count, width))
                    ours.append(await by_service(cluster, engines, count))
                rows += table(count, direct, ours)
        finally:
            for http in engines:
                await http.close()
    return rows


def table(count: int, direct: dict[int, list[Times]], ours: list[Times]) -> list[list[object]]:
    alone = {width: medians(times) for width, times in direct.items()}
    width = min(alone, key=lambda each: sum(alone[each]))
    rows: list[list[object]] = []
    for step, mine, theirs in zip(("deploy", "remove"), medians(ours), alone[width], strict=True):
        ratio = mine / theirs
        rows.append([count, step, mine, theirs, width, f"{ratio:.2f}", "yes" if ratio <= TARGET else "NO"])
    return rows


def medians(times: list[Times]) -> Times:
    deploys, removals = zip(*times, strict=True)
    return statistics.median(deploys), statistics.median(removals)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run deploy --", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at least; smaller sizes have more")
    options = parser.parse_args(argv)
    rows = asyncio.run(measure(options.sizes, options.rounds))
    print_table(
        "Deploy and remove on three engines, seconds",
        ["replicas", "step", "service", "engines alone", "width", "ratio", f"≤ {TARGET}"],
        rows,
        ["width: how many containers at a time an engine alone was quickest with"],
    )
    return 0

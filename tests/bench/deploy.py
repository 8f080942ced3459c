"""Deploy: a service on three real engines until all run, and until all are gone, beside the engines alone.

Both sides are the same run: three engines of one lab, the same image, no network of a cluster. Alone means: create and
start every container through its engine's API, a few at a time, and remove them; the width that was quickest with both
in a few rounds of trial. Ours means: `POST /services/create` until the API shows every task running, and
`DELETE /services/…`. The API is not asked before the engines have said that all are started, as asking takes the
manager's time. Removed is what the engines say is destroyed, on both sides; then the API may show no task any more, and
no container may be left. A round is both sides once, one right after the other and each first in turn, as a machine's
speed drifts more than they differ: what counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import operator
import statistics
import sys
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
TRIALS = 3
# At least; a small size has more rounds, as its time varies more and costs less.
ROUNDS, CONTAINERS = 15, 480
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


async def measure(sizes: Sequence[int], rounds: int, containers: int) -> AsyncIterator[list[list[object]]]:
    """Yield the rows of each size when it has been measured; each round is told on stderr as it ends."""
    async with Cluster("bench") as cluster:
        engines = [engine(host.docker_sock) for host in cluster.hosts]
        try:
            await directly(engines, 6, 4)  # what is only slow the first time
            for count in sizes:
                width = await quickest(engines, count)
                pairs = []
                wanted = max(rounds, containers // count)
                for number in range(wanted):
                    if number % 2:
                        alone = await directly(engines, count, width)
                        ours = await by_service(cluster, engines, count)
                    else:
                        ours = await by_service(cluster, engines, count)
                        alone = await directly(engines, count, width)
                    pairs.append((ours, alone))
                    tell(f"{count} replicas, round {number + 1} of {wanted}", ours, alone)
                yield table(count, width, pairs)
        finally:
            for http in engines:
                await http.close()


def tell(what: str, ours: Times, alone: Times) -> None:
    """Say how a round went: whoever waits for minutes, or ends the benchmark early, has seen that."""
    print(
        f"{what}: deployed in {ours[0]:.2f} s, engines alone {alone[0]:.2f}; removed in {ours[1]:.2f}, {alone[1]:.2f}",
        file=sys.stderr,
        flush=True,
    )


async def quickest(engines: Sequence[aiohttp.ClientSession], count: int) -> int:
    """Return the width that the engines alone are quickest with, to start as many containers and to remove them."""
    times: dict[int, list[float]] = {width: [] for width in WIDTHS}
    for _ in range(TRIALS):
        for width in WIDTHS:
            times[width].append(sum(await directly(engines, count, width)))
    return min(WIDTHS, key=lambda width: statistics.median(times[width]))


def table(count: int, width: int, pairs: Sequence[tuple[Times, Times]]) -> list[list[object]]:
    rows: list[list[object]] = []
    for number, step in enumerate(("deploy", "remove")):
        ours, alone = zip(*[(mine[number], theirs[number]) for mine, theirs in pairs], strict=True)
        low, ratio, high = statistics.quantiles(map(operator.truediv, ours, alone), n=4)
        spread = f"{low:.2f} to {high:.2f}"
        both = [statistics.median(ours), statistics.median(alone)]
        rows.append([count, step, *both, width, len(pairs), f"{ratio:.2f}", spread, "yes" if ratio <= TARGET else "NO"])
    return rows


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run deploy --", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at least; smaller sizes have more")
    parser.add_argument("--containers", type=int, default=CONTAINERS, help="at least, of all rounds of a size together")
    options = parser.parse_args(argv)
    asyncio.run(show(options.sizes, options.rounds, options.containers))
    return 0


async def show(sizes: Sequence[int], rounds: int, containers: int) -> None:
    """Print a table for each size as soon as it has been measured: all of them take a quarter of an hour."""
    async for rows in measure(sizes, rounds, containers):
        print_table(
            "Deploy and remove on three engines, seconds",
            [
                "replicas",
                "step",
                "service",
                "engines alone",
                "width",
                "rounds",
                "ratio",
                "half within",
                f"≤ {TARGET:.2f}",
            ],
            rows,
            [
                "seconds: medians; ratio: the median of the rounds' ratios, half of which are in the range beside it",
                "width: how many containers at a time an engine alone was quickest with",
            ],
        )

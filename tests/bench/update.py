"""Update: 12 replicas on three engines replaced, 4 and 1 at a time, beside the engines alone.

Both sides are the same run: three engines of one lab, the same image, no network of a cluster. Alone means: stop,
create and start through the engines' APIs in as many waves, each as wide as the update's parallelism. Ours means: an
update of the service until the API shows all replicas of the new specification running; the monitor period after that
is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.deploy import IMAGE, call, engine
from tests.bench.table import print_table
from tests.e2e.cluster import Cluster

REPLICAS = 12
PARALLELISMS = (4, 1)
ROUNDS = 3
# Seconds beyond the engines' own time.
TARGET = 2.0


async def directly(engines: Sequence[aiohttp.ClientSession], width: int) -> float:
    """Return the seconds to replace the containers of three engines, `width` at a time; leave nothing."""
    places = [engines[number % len(engines)] for number in range(REPLICAS)]
    held = [(http, await _started(http)) for http in places]

    async def replace(number: int) -> None:
        http, container = held[number]
        await call(http, "POST", f"/containers/{container}/stop")
        held[number] = http, await _started(http)
        old.append((http, container))

    old: list[tuple[aiohttp.ClientSession, str]] = []
    began = time.perf_counter()
    for first in range(0, REPLICAS, width):
        await asyncio.gather(*[replace(number) for number in range(first, min(first + width, REPLICAS))])
    took = time.perf_counter() - began
    for http, container in [*held, *old]:
        await call(http, "DELETE", f"/containers/{container}?force=true&v=true")
    return took


async def _started(http: aiohttp.ClientSession) -> str:
    made = await call(http, "POST", "/containers/create", {"Image": IMAGE})
    await call(http, "POST", f"/containers/{made['Id']}/start")
    return str(made["Id"])


async def by_service(cluster: Cluster, manager: aiohttp.ClientSession, width: int) -> float:
    """Return the seconds until a service's tasks have all been replaced."""
    spec: dict[str, Any] = {
        "Name": "bench",
        "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}},
        "Mode": {"Replicated": {"Replicas": REPLICAS}},
        "UpdateConfig": {"Parallelism": width},
    }
    await call(manager, "POST", "/services/create", spec)
    before = {task["ID"] for task in await cluster.running("bench", REPLICAS)}
    service = await call(manager, "GET", "/services/bench")
    spec["TaskTemplate"]["ForceUpdate"] = 1
    began = time.perf_counter()
    await call(manager, "POST", f"/services/bench/update?version={service['Version']['Index']}", spec)

    def replaced(tasks: list[Any]) -> bool:
        here = {task["ID"] for task in tasks if task["Status"]["State"] == "running"}
        return len(tasks) == len(here) == REPLICAS and not here & before

    await cluster.tasks_when("bench", replaced, 60)
    took = time.perf_counter() - began
    await call(manager, "DELETE", "/services/bench")

    async def gone() -> bool:
        return not await cluster.tasks(desired="")

    await cluster.until(gone, 60)
    return took


async def measure(rounds: int) -> list[list[object]]:
    rows: list[list[object]] = []
    async with Cluster("update") as cluster:
        sessions = [engine(host.docker_sock) for host in cluster.hosts]
        sessions.append(engine(Path(cluster.api.removeprefix("unix://"))))
        *engines, manager = sessions
        try:
            await directly(engines, REPLICAS)  # what is only slow the first time
            for width in PARALLELISMS:
                pairs = [
                    (await directly(engines, width), await by_service(cluster, manager, width)) for _ in range(rounds)
                ]
                alone, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
                beyond = ours - alone
                rows.append([REPLICAS, width, ours, alone, beyond, "yes" if beyond <= TARGET else "NO"])
        finally:
            for session in sessions:
                await session.close()
    return rows


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run update --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rows = asyncio.run(measure(parser.parse_args(argv).rounds))
    print_table(
        "Rolling update on three engines, seconds until all containers are replaced",
        ["replicas", "parallelism", "service", "engines alone", "beyond", f"≤ {TARGET:g} s"],
        rows,
        ["medians; the target is for parallelism 4"],
    )
    return 0

"""Whole clusters with seeded faults: what must hold holds after every commit, and a world left alone converges.

A failing seed is replayed with `SIM_SEED=n tests/run sim -k replay -n 0`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

import pytest

from tests.sim import clock
from tests.sim.chaos import Chaos
from tests.sim.cluster import Cluster
from tests.sim.convergence import problems
from tests.sim.invariants import Broken

SEEDS = 1000
PART = 20
FAULTS_SECONDS = 60.0
# What back-off, the wait for old tasks and the patience with drained nodes may add up to.
CONVERGENCE_SECONDS = 900.0
# As long as nothing may change before a cluster is at rest: longer than any of the manager's own patience.
REST_SECONDS = 65.0


async def scenario(seed: int) -> None:
    """Live through one seed."""
    rng = random.Random(seed)
    cluster = Cluster(seed, heartbeat=rng.choice([1.0, 2.0, 3.0]), latency=rng.choice([0.0, 0.01, 0.1]))
    cluster.habits.rejected = rng.choice([0.0, 0.05, 0.2])
    cluster.habits.failing = rng.choice([0.0, 0.1, 0.3])
    cluster.habits.pull = rng.choice([0.1, 2.0, 20.0])
    chaos = Chaos(cluster, rng)
    try:
        async with cluster.running():
            await chaos.build(rng.randint(2, 5))
            cluster.backend.failing = rng.choice([0.0, 0.0, 0.02])
            end = cluster.clock.now() + FAULTS_SECONDS
            while cluster.clock.now() < end:
                await chaos.happen()
                await asyncio.sleep(rng.expovariate(0.5))
                cluster.check()
            await chaos.calm_down()
            await converge(cluster)
    except BaseException as error:
        error.add_note(f"replay: SIM_SEED={seed} tests/run sim -k replay -n 0")
        error.add_note("\n".join(["what happened:", *chaos.log]))
        raise


async def converge(cluster: Cluster) -> None:
    """Wait until all is as it was asked for, and nothing is changed any more."""
    end = cluster.clock.now() + CONVERGENCE_SECONDS
    quiet_since, changes = cluster.clock.now(), 0
    while True:
        cluster.check()
        now, found = cluster.clock.now(), problems(cluster)
        if len(cluster.backend.history) > changes:
            quiet_since, changes = now, len(cluster.backend.history)
        if not found and now - quiet_since >= REST_SECONDS:
            return
        if now > end:
            stories = [line for task in cluster.view.tasks if task.live for line in cluster.backend.stories[task.id]]
            last = cluster.backend.history[-20:]
            raise Broken(
                "\n".join(["the cluster does not come to rest:", *found, "stories:", *stories, "last:", *last])
            )
        await asyncio.sleep(1.0)


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_seeds(first: int) -> None:
    for seed in range(first, first + PART):
        clock.run(scenario(seed))


@pytest.mark.skipif("SIM_SEED" not in os.environ, reason="replays one seed: SIM_SEED=n")
def test_replay() -> None:
    seed = int(os.environ["SIM_SEED"])
    print(f"seed {seed}", file=sys.stderr)
    clock.run(scenario(seed))

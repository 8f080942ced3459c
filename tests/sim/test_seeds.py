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
from tests.sim.evenness import best, failed_on, probe, uneven
from tests.sim.invariants import Broken

SEEDS = 1000
PART = 20
FAULTS_SECONDS = 60.0
# What back-off, the wait for old tasks and the patience with drained nodes may add up to.
CONVERGENCE_SECONDS = 900.0
# As long as nothing may change before a cluster is at rest: longer than any of the manager's own patience.
REST_SECONDS = 65.0
# Longer than any pause between moves that even out the load.
BALANCE_SECONDS = 12.0
ASKED_TO_BE_EVEN = 4


async def scenario(seed: int) -> None:
    """Live through one seed."""
    rng = random.Random(seed)
    cluster = Cluster(seed, heartbeat=rng.choice([1.0, 3.0, 5.0]), latency=rng.choice([0.0, 0.01, 0.1]))
    cluster.habits.rejected = rng.choice([0.0, 0.05, 0.2])
    cluster.habits.failing = rng.choice([0.0, 0.1, 0.3])
    cluster.habits.refusing = rng.choice([0.0, 0.0, 0.3])
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
            await (even_out(cluster) if seed % 2 else place_one_more(cluster, rng))
    except BaseException as error:
        error.add_note(f"replay: SIM_SEED={seed} tests/run sim -k replay -n 0")
        error.add_note("\n".join(["what happened:", *chaos.log]))
        raise


async def even_out(cluster: Cluster) -> None:
    """Ask for the load to be made even: then no move would make it more even, and asking again moves nothing, at last.

    Services are made even one after the other, so the first may have a better place when the last has moved. And what
    was kept off a node because tasks failed there, for some minutes, may go there now.
    """
    homes: dict[str, str] = {}
    for _ in range(ASKED_TO_BE_EVEN):
        before, avoided = homes, failed_on(cluster.view)
        await cluster.rebalance()
        await converge(cluster, BALANCE_SECONDS)
        homes = {task.id: task.node_id for task in cluster.view.tasks if task.live}
        if found := list(uneven(cluster.view)):
            raise Broken("\n".join(["the load was made even, and is not:", *found]))
        services = {task.id: task.service_id for task in cluster.view.tasks}
        moved = {task_id: node for task_id, node in homes.items() if task_id not in before}
        if all((services[task_id], node) in avoided for task_id, node in moved.items()):
            return
    raise Broken(f"the load was even, and tasks move: {before} and {homes}")


async def place_one_more(cluster: Cluster, rng: random.Random) -> None:
    """Create a service of one task, placed by a strategy or an affinity, on whose best node it must be."""
    names = [service.name for service in cluster.view.services if not service.pending_delete]
    other = f"{rng.choice(names)}=2" if names else ""
    labels = rng.choice(
        [{"strategy": "binpack"}, {"strategy": "spread"}, {"affinity": other}, {"anti_affinity": other}]
    )
    service = probe("probe", **{key: text for key, text in labels.items() if text})
    wanted = best(cluster.view, service)
    await cluster.create(service)
    await asyncio.sleep(BALANCE_SECONDS)
    cluster.check()
    found = {task.node_id for task in cluster.view.tasks.of_service("probe") if task.node_id}
    if not found <= wanted or bool(found) != bool(wanted):
        raise Broken(f"a task placed by {labels} is on {found}, its best nodes are {wanted}")


async def converge(cluster: Cluster, rest: float = REST_SECONDS) -> None:
    """Wait until all is as it was asked for, and nothing is changed any more."""
    end = cluster.clock.now() + CONVERGENCE_SECONDS
    quiet_since, changes = cluster.clock.now(), 0
    while True:
        cluster.check()
        now = cluster.clock.now()
        if len(cluster.backend.history) > changes:
            quiet_since, changes = now, len(cluster.backend.history)
        elif now - quiet_since >= rest and not problems(cluster):
            return
        if now > end:
            found = problems(cluster)
            live = [task.id for task in cluster.view.tasks if task.live]
            stories = [str(told) for task_id in live for told in cluster.backend.stories[task_id]]
            last = map(str, cluster.backend.history[-20:])
            raise Broken(
                "\n".join(["the cluster does not come to rest:", *found, "stories:", *stories, "last:", *last])
            )
        await asyncio.sleep(1.0)


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_seeds(first: int) -> None:
    clock.run_each(scenario, range(first, first + PART))


@pytest.mark.skipif("SIM_SEED" not in os.environ, reason="replays one seed: SIM_SEED=n")
def test_replay() -> None:
    seed = int(os.environ["SIM_SEED"])
    print(f"seed {seed}", file=sys.stderr)
    clock.run(scenario(seed))

"""Data stays with its task: seeded clusters whose containers count in volumes, under faults and operators.

A failing seed is replayed with `SIM_SEED=n tests/run sim -k volumes_replay -n 0`.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

import pytest

from common.model import Service, Task, TaskState
from common.model.container import ContainerSpec, Mount
from common.model.service import (
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from common.spec.volumes import scope_of
from manager.domain.defaults import fill_defaults
from tests.fakes.volumes import mount
from tests.sim import clock
from tests.sim.cluster import Cluster
from tests.sim.invariants import Broken
from tests.sim.managers import Managers
from tests.sim.volumes.trouble import Trouble

# As many as of the other kinds, though each takes about twice as long as one of one manager.
SEEDS = int(os.environ.get("SIM_VOLUME_SEEDS", "1000"))
PART = 5
# Every so many seeds there are three managers with a store in etcd, of which another one leads after a fault.
WITH_MANAGERS = 5
FAULTS_SECONDS = 60.0
REST_SECONDS = 400.0
# The share of seeds with a job that reads a snapshot for which tasks stop.
BACKUPS = 0.5
# What a slot may wait for that an operator has to see to.
WAITS = ("volume", "no node has both")


def service(name: str, rng: random.Random) -> Service:
    """Make a service with one or two volumes, of its own or shared with others."""
    data = rng.choice(["data", f"{name}_data", f"{name}_data"])
    mounts: list[Mount] = [mount(data)]
    if rng.random() < 0.3:
        mounts.append(mount(rng.choice(["files", "data-{{.Task.Slot}}"])))
    if rng.random() < 0.3:
        mounts = [mount(data, rng.choice(["slot", "one"]))]
    labels = {"swarm.x.volume-policy": "fresh"} if name == "cache" else {}
    template = TaskSpec(
        container_spec=ContainerSpec(image="v1", mounts=tuple(mounts)), restart_policy=RestartPolicy(delay=0)
    )
    replicas = 1 if mounts[0] == mount(data, "one") else 3
    mode = ServiceMode(replicated=Replicated(replicas=rng.randint(1, replicas)))
    update = UpdateConfig(order=rng.choice(["start-first", "stop-first"]), parallelism=0, monitor=0)
    spec = ServiceSpec(name=name, labels=labels, task_template=template, mode=mode, update_config=update)
    return Service(id=f"{name}-{rng.getrandbits(32):08x}", spec=fill_defaults(spec))


def backup(of: Service, rng: random.Random) -> Service:
    """Make a job that reads a snapshot of a service's first volume, for which that one's tasks stop."""
    container = of.spec.task_template.container_spec
    assert container is not None
    first = container.mounts[0]
    mounts = (mount(first.source, scope_of(first), snapshot="stop"),)
    template = TaskSpec(
        container_spec=ContainerSpec(image="v1", mounts=mounts), restart_policy=RestartPolicy(delay=0, max_attempts=3)
    )
    mode = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=1, total_completions=1))
    spec = ServiceSpec(name="backup", task_template=template, mode=mode)
    return Service(id=f"backup-{rng.getrandbits(32):08x}", spec=fill_defaults(spec))


def unsettled(cluster: Cluster) -> list[str]:
    """Name the slots that neither run nor say which data they wait for."""
    found = []
    for each in cluster.view.services:
        tasks = list(cluster.view.tasks.of_service(each.id))
        live = [task for task in tasks if task.live]
        if each.spec.mode.replicated is None:
            running = [task for task in live if task.status.state is TaskState.RUNNING]
            found += [f"job {each.name} has {tasks}"] if running or not tasks else []
        elif len(live) != each.spec.mode.replicas:
            found.append(f"{each.name} has {len(live)} tasks of {each.spec.mode.replicas}")
        waiting = [task for task in live if task.status.state is not TaskState.RUNNING]
        found += [f"{task.id} is {task.status}" for task in waiting if not is_settled(task)]
    found += [f"the move of {each.name} is {each.phase}" for each in cluster.view.transfers if each.active]
    return found


def is_settled(task: Task) -> bool:
    """Whether a task waits for data that somebody must see to; a snapshot is not such, which is made in the end."""
    err = task.status.err
    return any(why in err for why in WAITS) and not err.startswith(("waits for a snapshot", "the snapshot of volume"))


async def scenario(seed: int) -> Counter[tuple[str, str]]:
    """Live through one seed; return what was done to moves."""
    rng = random.Random(f"volumes/{seed}")
    latency, commit = rng.choice([0.0, 0.05]), rng.choice([0.002, 0.002, 0.5])
    cluster = (
        Managers(seed, heartbeat=1.0, latency=latency)
        if seed % WITH_MANAGERS == 0
        else Cluster(seed, heartbeat=1.0, latency=latency, commit=commit)
    )
    cluster.habits.rejected = rng.choice([0.0, 0.1])
    cluster.habits.failing = rng.choice([0.0, 0.2])
    cluster.ledger.fresh.add("cache")
    faults = rng.choice([0.0, 0.0, 0.3])
    trouble = Trouble(cluster, rng)
    try:
        async with cluster.running():
            for number in range(1, rng.randint(2, 5) + 1):
                (await cluster.add_host(f"node{number}")).copies.faults = faults
            db, *others = [service(name, rng) for name in ("db", "app", "cache")]
            for each in (db, *others):
                await cluster.create(each)
            if rng.random() < BACKUPS:
                await cluster.create(backup(db, rng))
            end = cluster.clock.now() + FAULTS_SECONDS
            while cluster.clock.now() < end:
                await asyncio.sleep(rng.expovariate(0.4))
                await trouble.happen()
                cluster.check()
            await trouble.calm_down()
            await settle(cluster)
            assert cluster.ledger.starts, "containers write"
            return trouble.struck
    except BaseException as error:
        error.add_note(f"replay: SIM_SEED={seed} tests/run sim -k volumes_replay -n 0")
        error.add_note("\n".join(["what happened:", *trouble.log]))
        raise


async def settle(cluster: Cluster) -> None:
    end = cluster.clock.now() + REST_SECONDS
    while found := unsettled(cluster):
        if cluster.clock.now() > end:
            raise Broken(
                "\n".join(["the cluster does not come to rest:", *found, *map(str, cluster.backend.history[-30:])])
            )
        await asyncio.sleep(2.0)
        cluster.check()


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_data_stays_with_its_task(first: int) -> None:
    clock.run_each(scenario, range(first, min(SEEDS, first + PART)))


@pytest.mark.skipif("SIM_SEED" not in os.environ, reason="replays one seed: SIM_SEED=n")
def test_volumes_replay() -> None:
    clock.run(scenario(int(os.environ["SIM_SEED"])))

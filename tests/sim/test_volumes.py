"""Data stays with its task: seeded clusters whose containers count in volumes, under faults and operators.

A failing seed is replayed with `SIM_SEED=n tests/run sim -k volumes_replay -n 0`.
"""

from __future__ import annotations

import asyncio
import os
import random

import pytest
from msgspec.structs import replace

from common.errors import SwarmError
from common.model import Service, TaskState
from common.model.container import ContainerSpec, Mount
from common.model.service import Replicated, RestartPolicy, ServiceMode, ServiceSpec, TaskSpec, UpdateConfig
from manager.domain.defaults import fill_defaults
from tests.fakes.volumes import mount
from tests.sim import clock
from tests.sim.cluster import Cluster
from tests.sim.host import BAD_IMAGE
from tests.sim.invariants import Broken

# Each takes about as long as eight of the other seeds.
SEEDS = int(os.environ.get("SIM_VOLUME_SEEDS", "30"))
PART = 20
FAULTS_SECONDS = 60.0
REST_SECONDS = 400.0


def service(name: str, rng: random.Random) -> Service:
    """Make a service with one or two volumes."""
    mounts: list[Mount] = [mount("data")]
    if rng.random() < 0.3:
        mounts.append(mount(rng.choice(["files", "data-{{.Task.Slot}}"])))
    if rng.random() < 0.2:
        mounts = [mount("data", rng.choice(["slot", "one"]))]
    labels = {"swarm.x.volume-policy": "fresh"} if name == "cache" else {}
    template = TaskSpec(
        container_spec=ContainerSpec(image="v1", mounts=tuple(mounts)), restart_policy=RestartPolicy(delay=0)
    )
    replicas = 1 if mounts[0] == mount("data", "one") else 3
    mode = ServiceMode(replicated=Replicated(replicas=rng.randint(1, replicas)))
    update = UpdateConfig(order=rng.choice(["start-first", "stop-first"]), parallelism=0, monitor=0)
    spec = ServiceSpec(name=name, labels=labels, task_template=template, mode=mode, update_config=update)
    return Service(id=f"{name}-{rng.getrandbits(32):08x}", spec=fill_defaults(spec))


class Trouble:
    """One seed's operators and misfortunes."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.log: list[str] = []

    async def happen(self) -> None:
        often = [self._power, self._availability, self._scale]
        seldom = [
            self._cut,
            self._update,
            self._bad_update,
            self._recreate,
            self._restart_manager,
            self._remove_by_hand,
        ]
        step = self.rng.choice([*often, *often, *seldom])
        self.log.append(f"{self.cluster.clock.now():.2f} {step.__name__.strip('_')}")
        try:
            await step()
        except SwarmError as error:
            self.log.append(f"  {error.message}")

    async def calm_down(self) -> None:
        """End all misfortune; what was removed by hand is given up."""
        cluster = self.cluster
        cluster.habits.rejected = cluster.habits.failing = 0.0
        for host in cluster.hosts.values():
            host.cut_off(False)
            if not host.powered:
                host.power_on()
            await cluster.change_node(host.node_id, availability="active")
        for each in self._services():
            template = each.spec.task_template
            assert template.container_spec is not None
            good = replace(template, container_spec=replace(template.container_spec, image="v9"))
            await cluster.change(each.id, task_template=good)

    def _services(self) -> list[Service]:
        return [each for each in self.cluster.view.services if not each.pending_delete]

    async def _power(self) -> None:
        host = self.rng.choice(list(self.cluster.hosts.values()))
        if host.powered:
            await host.power_off()
        else:
            host.power_on()

    async def _cut(self) -> None:
        host = self.rng.choice(list(self.cluster.hosts.values()))
        host.cut_off(not host.cut)

    async def _availability(self) -> None:
        node = self.rng.choice(list(self.cluster.hosts))
        await self.cluster.change_node(node, availability=self.rng.choice(["active", "drain", "pause"]))

    async def _update(self, image: str = "") -> None:
        each = self.rng.choice(self._services())
        template = each.spec.task_template
        assert template.container_spec is not None
        container = replace(template.container_spec, image=image or f"v{self.rng.randint(1, 5)}")
        await self.cluster.change(each.id, task_template=replace(template, container_spec=container))

    async def _bad_update(self) -> None:
        await self._update(BAD_IMAGE)

    async def _scale(self) -> None:
        each = self.rng.choice(self._services())
        if "one" not in str(each.spec.task_template):
            await self.cluster.scale(each.id, self.rng.randint(0, 3))

    async def _recreate(self) -> None:
        """Remove a service, and deploy it again once it is gone; its next tasks are to find its data."""
        each = self.rng.choice(self._services())
        await self.cluster.remove(each.id)
        while any(each.id == other.id for other in self.cluster.view.services):
            await asyncio.sleep(1.0)
            self.cluster.check()
        again = replace(each, id=f"{each.name}-{self.rng.getrandbits(32):08x}")
        await self.cluster.create(replace(again, pending_delete=False))

    async def _restart_manager(self) -> None:
        await self.cluster.stop_manager()
        await asyncio.sleep(self.rng.uniform(0.0, 3.0))
        await self.cluster.start_manager()

    async def _remove_by_hand(self) -> None:
        """Remove a volume on its host, which no container uses there, and nobody restores."""
        host = self.rng.choice(list(self.cluster.hosts.values()))
        used = {task.service_name for task in host.containers.values()}
        if host.disk.volumes and not used and self.rng.random() < 0.2:
            name = self.rng.choice(sorted(host.disk.volumes))
            del host.disk.volumes[name]
            self.log.append(f"  {name} on {host.node_id}")


def unsettled(cluster: Cluster) -> list[str]:
    """Name the slots that neither run nor say which data they wait for."""
    found = []
    for each in cluster.view.services:
        live = [task for task in cluster.view.tasks.of_service(each.id) if task.live]
        if len(live) != each.spec.mode.replicas:
            found.append(f"{each.name} has {len(live)} tasks of {each.spec.mode.replicas}")
        waiting = [task for task in live if task.status.state is not TaskState.RUNNING]
        found += [f"{task.id} is {task.status}" for task in waiting if "volume" not in task.status.err]
    return found


async def scenario(seed: int) -> None:
    rng = random.Random(f"volumes/{seed}")
    cluster = Cluster(seed, heartbeat=1.0, latency=rng.choice([0.0, 0.05]))
    cluster.habits.rejected = rng.choice([0.0, 0.1])
    cluster.habits.failing = rng.choice([0.0, 0.2])
    cluster.ledger.fresh.add("cache")
    trouble = Trouble(cluster, rng)
    try:
        async with cluster.running():
            for number in range(1, rng.randint(2, 4) + 1):
                await cluster.add_host(f"node{number}")
            for name in ("db", "app", "cache"):
                await cluster.create(service(name, rng))
            end = cluster.clock.now() + FAULTS_SECONDS
            while cluster.clock.now() < end:
                await asyncio.sleep(rng.expovariate(0.4))
                await trouble.happen()
                cluster.check()
            await trouble.calm_down()
            await _settle(cluster)
            assert cluster.ledger.starts, "containers write"
    except BaseException as error:
        error.add_note(f"replay: SIM_SEED={seed} tests/run sim -k volumes_replay -n 0")
        error.add_note("\n".join(["what happened:", *trouble.log]))
        raise


async def _settle(cluster: Cluster) -> None:
    end = cluster.clock.now() + REST_SECONDS
    while found := unsettled(cluster):
        if cluster.clock.now() > end:
            raise Broken("\n".join(["the cluster does not come to rest:", *found, *cluster.backend.history[-30:]]))
        await asyncio.sleep(2.0)
        cluster.check()


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_data_stays_with_its_task(first: int) -> None:
    for seed in range(first, first + PART):
        clock.run(scenario(seed))


@pytest.mark.skipif("SIM_SEED" not in os.environ, reason="replays one seed: SIM_SEED=n")
def test_volumes_replay() -> None:
    clock.run(scenario(int(os.environ["SIM_SEED"])))

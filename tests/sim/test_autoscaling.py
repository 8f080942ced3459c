"""Autoscaled services in virtual time: loads that come and go, hosts and managers that fail meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.clock import SECOND
from common.model import Service, Task
from common.model.service import Reservations, Resources
from common.spec import autoscale
from tests.fakes.world import replace
from tests.sim import clock
from tests.sim.cluster import Cluster
from tests.sim.test_stories import cluster_of, containers, service, settled, until

POLICY = "min=2,max=10,cpu=50%"


class Site:
    """A cluster with one autoscaled service, whose containers share a load of so many cores."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.load = 0.0
        self.measurable = True
        cluster.habits.pull = 3.0
        cluster.habits.use = self._use

    def _use(self, _task: Task) -> float | None:
        return self.load / max(1, containers(self.cluster)) if self.measurable else None

    @property
    def web(self) -> Service:
        web = self.cluster.view.services.get("web")
        assert web is not None
        return web

    @property
    def count(self) -> int:
        return self.web.spec.mode.replicas

    @property
    def message(self) -> str:
        return self.web.autoscale_status.message if self.web.autoscale_status is not None else ""

    async def reaches(self, count: int, seconds: float) -> float:
        """Wait until so many containers run, and return how long it took."""
        return await until(self.cluster, lambda: self.count == containers(self.cluster) == count, seconds)

    async def stays(self, count: int, seconds: float) -> None:
        for _ in range(int(seconds)):
            await asyncio.sleep(1)
            self.cluster.check()
            assert self.count == count, self.message


@asynccontextmanager
async def site(policy: str = POLICY, hosts: int = 3) -> AsyncIterator[Site]:
    """Begin with two tasks, which have nothing to do."""
    async with cluster_of(hosts) as cluster:
        made = Site(cluster)
        web = service(2, labels={autoscale.LABEL: policy})
        template = replace(
            web.spec.task_template, resources=Resources(reservations=Reservations(nano_cpus=SECOND // 2))
        )
        await cluster.create(replace(web, spec=replace(web.spec, task_template=template)))
        await made.reaches(2, 30)
        yield made


def test_up_fast_and_down_slow() -> None:
    async def story() -> None:
        async with site() as here:
            here.load = 1.5  # at half of half a core a task: six tasks
            assert await here.reaches(6, 45) >= 15
            assert here.message == "scaled 2 → 6: cpu at 150% (target 50%)"
            await here.stays(6, 600)
            here.load = 0.25
            await here.stays(6, 290)
            await here.reaches(2, 40)
            assert " → 2 (1 needed, 2 is the minimum): cpu at " in here.message
            assert here.message.endswith(", fewer needed for 5m")
            await here.stays(2, 600)
            here.load = 40.0
            await here.reaches(10, 60)
            assert "is the maximum" in here.message
            await until(here.cluster, lambda: settled(here.cluster), 10)

    clock.run(story())


def test_a_spike_is_not_followed() -> None:
    async def story() -> None:
        async with site() as here:
            await asyncio.sleep(60)
            here.load = 4.0
            await here.stays(2, 9)
            here.load = 0.5
            await here.stays(2, 120)

    clock.run(story())


def test_a_new_manager_scales_down_only_after_enough_samples() -> None:
    async def story() -> None:
        async with site() as here:
            here.load = 1.5
            await here.reaches(6, 45)
            here.load = 0.25
            await here.stays(6, 280)
            await here.cluster.stop_manager()
            await here.cluster.start_manager()
            await here.stays(6, 290)
            await here.reaches(2, 60)

    clock.run(story())


def test_scaling_down_waits_for_samples_but_not_of_a_lost_host() -> None:
    async def story() -> None:
        async with site() as here:
            here.load = 1.5
            await here.reaches(6, 45)
            here.load, here.measurable = 0.25, False
            await here.stays(6, 1200)
            here.measurable = True
            here.cluster.hosts["node1"].cut_off(True)
            await here.stays(6, 290)
            await until(here.cluster, lambda: here.count == 2, 60)

    clock.run(story())


def test_scaling_by_hand_is_not_taken_back_at_once() -> None:
    async def story() -> None:
        async with site() as here:
            await asyncio.sleep(400)
            by_hand = autoscale.scale_to(here.web, 5, "scaled 2 → 5 by hand", here.cluster.clock.now(), by_hand=True)
            await here.cluster.update(lambda tx: tx.put(by_hand))
            await here.stays(5, 290)
            await here.cluster.stop_manager()
            await here.cluster.start_manager()
            await here.reaches(2, 340)

    clock.run(story())


def test_a_load_that_waves_is_met_once_whatever_fails_meanwhile() -> None:
    """Two hours of waves, a power cut each quarter of an hour: the number goes up, and not down and up again."""

    async def story() -> None:
        async with site() as here:
            changes: list[str] = []
            for minute in range(120):
                here.load = 1.75 if minute % 4 < 2 else 0.5
                if minute % 15 == 7:
                    await here.cluster.hosts["node2"].power_off()
                if minute % 15 == 8:
                    here.cluster.hosts["node2"].power_on()
                await asyncio.sleep(60)
                here.cluster.check()
                if here.message not in changes:
                    changes.append(here.message)
            assert here.count == 7
            assert len(changes) <= 3, changes

    clock.run(story())

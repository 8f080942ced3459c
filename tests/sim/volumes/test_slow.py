"""A host that sends slowly for ever loses its place among the moves under way, one that pauses does not."""

from __future__ import annotations

import asyncio

from common.model import Service, Transfer
from common.model.container import ContainerSpec
from common.model.service import Replicated, ServiceMode, ServiceSpec, TaskSpec
from manager.domain.defaults import fill_defaults
from manager.loops.transfers import MOST_OF_NODE
from tests.fakes.volumes import mount
from tests.sim import clock
from tests.sim.cluster import Cluster
from tests.sim.volumes.copies import PAUSE_SECONDS, Pace
from tests.sim.volumes.test_volumes import settle

HOUR = 3600.0


def service(name: str) -> Service:
    template = TaskSpec(container_spec=ContainerSpec(image="v1", mounts=(mount(name),)))
    spec = ServiceSpec(name=name, task_template=template, mode=ServiceMode(replicated=Replicated(replicas=1)))
    return Service(id=name, spec=fill_defaults(spec))


def transfer(cluster: Cluster, name: str) -> Transfer:
    found = cluster.view.transfers.get(name)
    assert found is not None
    return found


async def begin(cluster: Cluster, name: str, source: str) -> None:
    """Begin to move the volume `name`, after those that were begun before."""
    move = Transfer(id=name, volumes=(name,), source=source, target="target")
    await cluster.update(lambda tx: tx.put(move))
    await asyncio.sleep(1.0)


async def moved(pace: Pace) -> dict[str, Transfer]:
    """Move what an honest host has, and before it more than there is room for from one that sends at this pace.

    All goes to one host. Returns the moves by their volumes.
    """
    cluster = Cluster(1)
    slow = [f"slow{number}" for number in range(MOST_OF_NODE + 1)]
    async with cluster.running():
        await cluster.add_host("honest")
        await cluster.create(service("data"))
        await settle(cluster)
        await cluster.change_node("honest", availability="pause")
        sender = (await cluster.add_host("sender")).copies
        sender.pace = pace
        for name in slow:
            await cluster.create(service(name))
        await settle(cluster)
        (await cluster.add_host("target")).copies.wait = 2 * PAUSE_SECONDS
        await asyncio.sleep(5.0)  # the host says that it is ready, and the others which volumes they have
        for name in slow:
            await begin(cluster, name, "sender")
        await begin(cluster, "data", "honest")
        end = cluster.clock.now() + HOUR
        while any(each.active for each in cluster.view.transfers) and cluster.clock.now() < end:
            await asyncio.sleep(1.0)
            cluster.check()
        await settle(cluster)
        cluster.check()
        return {name: transfer(cluster, name) for name in ("data", *slow)}


def test_one_that_trickles_ends_and_others_go_on() -> None:
    found = clock.run(moved("trickles"))
    data = found.pop("data")
    assert (data.phase, data.error) == ("done", "")
    for move in found.values():
        assert move.phase == "failed"
        assert move.error.startswith("node sender sent only "), move.error
        assert "in 10 minutes, all of which node target was given" in move.error
        assert not move.stopped_at, "its task ran on"


def test_one_that_pauses_comes_to_its_end() -> None:
    found = clock.run(moved("pauses"))
    assert {name: (move.phase, move.error) for name, move in found.items()} == dict.fromkeys(found, ("done", ""))

import asyncio
import contextlib

import pytest

from common.errors import InvalidArgument
from common.model.network import Network, NetworkSpec
from common.model.service import NetworkAttachmentConfig
from tests.fakes.engine import FakeEngine
from tests.unit.worker.worlds import make_task
from worker.assignments import AssignmentSet
from worker.intake.network import NetworkIntake
from worker.intake.world import NetworkWorld
from worker.interfaces.engine import Container, EngineError
from worker.interfaces.networks import NetworkEndpoint
from worker.net.local_networks import LocalNetworks

BACK = Network(id="n1", spec=NetworkSpec(name="back", internal=True, labels={"mine": "1"}))
NETWORKS = {"n1": BACK, "h": Network(id="h", spec=NetworkSpec(name="host"))}
WORLD = NetworkIntake("node1").world(AssignmentSet(networks=NETWORKS))


def task(name="t1", target="n1", **more):
    return make_task(name, networks=(NetworkAttachmentConfig(target=target, **more),))


@pytest.fixture
async def networks():
    networks = LocalNetworks(FakeEngine(), "node1")
    networks.update(WORLD)
    running = asyncio.create_task(networks.run())
    yield networks
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.fixture
def engine(networks):
    return networks._engine


async def test_the_first_task_makes_the_bridge_the_last_removes_it(networks, engine):
    attached = await asyncio.gather(networks.attach(task("t1", aliases=("db",))), networks.attach(task("t2")))
    assert attached[0].endpoints == (NetworkEndpoint(network="back.node1", network_id="n1", aliases=("db", "web")),)
    assert engine.calls["create_network"] == 1
    made = engine.docker_networks["back.node1"]
    assert (made["Internal"], made["Labels"]["mine"]) == (True, "1")
    await networks.release("t1")
    assert "back.node1" in engine.docker_networks
    await networks.release("t2")
    assert engine.docker_networks == {}
    await networks.release("t2")


async def test_addresses_that_mean_nothing_elsewhere_are_not_said(networks):
    attachment = await networks.attach(task("t1"))
    assert attachment.endpoints
    assert attachment.status_addresses() == {}


async def test_a_bridge_from_before_is_used_again(networks, engine):
    await networks.attach(task("t1"))
    again = LocalNetworks(engine, "node1")
    again.update(WORLD)
    await again.attach(task("t2"))
    assert engine.calls["create_network"] == 1


async def test_a_network_of_no_name_joins_nobody_elses(networks):
    """What begins with `container:` is another container's network to an engine."""
    with pytest.raises(InvalidArgument, match="is not a container's name"):
        await networks.attach(task("t1", "container:c0ffee"))


async def test_adopted_tasks_hold_their_bridge(networks, engine):
    await networks.attach(task("t1"))
    again = LocalNetworks(engine, "node1")
    again.update(WORLD)
    await again.adopted(task("t1"), Container(id="c"))
    await again.attach(task("t2"))
    await again.release("t2")
    assert "back.node1" in engine.docker_networks
    await again.release("t1")
    assert engine.docker_networks == {}


async def test_predefined_networks_are_modes(networks, engine):
    assert (await networks.attach(task(target="h"))).mode == "host"
    assert (await networks.attach(task(target="none"))).mode == "none"
    assert engine.calls["create_network"] == 0


async def test_a_network_that_is_in_use_elsewhere_stays_until_later(networks, engine):
    await networks.attach(task("t1"))

    async def refused(network):
        raise EngineError(403, "network has active endpoints")

    removal, engine.remove_network = engine.remove_network, refused
    await networks.release("t1")
    assert "back.node1" in engine.docker_networks
    engine.remove_network = removal
    networks.update(NetworkWorld())
    async with asyncio.timeout(5):
        while engine.docker_networks:
            await asyncio.sleep(0.001)


async def test_leaving_removes_all(networks, engine):
    await networks.attach(task("t1"))
    await networks.remove_all()
    assert engine.docker_networks == {}

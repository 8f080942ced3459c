"""The real worker and the real dispatcher, in memory and virtual time: do they believe the same of the protocol?"""

import asyncio
import random
from contextlib import asynccontextmanager

from common.model.task import TaskState
from common.tls import ROLE_WORKER, Identity
from common.wire.channel import PeerInfo
from tests.fakes.dispatching import CLUSTER, Manager
from tests.fakes.engine import FakeEngine, Program
from tests.fakes.real_worker import RealWorker
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.worlds import NODE, make_task, want

S = TaskState


def make_worker(manager):
    """Make a worker of this manager's, and the list that its connections will be in."""
    peer = PeerInfo(Identity(NODE, ROLE_WORKER, CLUSTER, "7"), "10.0.0.9", "10.0.0.1")
    connections = []

    def connect(_):
        connections.append(manager.connect(peer).channel)
        return connections[-1]

    engine = FakeEngine({"web": Program()}, name="host1")
    return RealWorker(NODE, engine, connect, clock=manager.clock, rng=random.Random(1)), connections


@asynccontextmanager
async def connected():
    """Run a manager; yield it, a worker of its cluster, and the list of the worker's connections."""
    manager = Manager()
    async with manager.running():
        await manager.node(NODE)
        yield manager, *make_worker(manager)


def state(manager, task_id):
    return manager.store.view.tasks.get(task_id).status.state


async def _from_assignment_to_removal():
    async with connected() as (manager, worker, connections):
        async with worker.running():
            await asyncio.sleep(1)
            node = manager.store.view.nodes.get(NODE)
            assert (node.status.state, node.description.hostname) == ("ready", "host1")

            await manager.put(*(make_task(f"t{n}") for n in range(5)))
            await asyncio.sleep(1)
            assert {state(manager, f"t{n}") for n in range(5)} == {S.RUNNING}
            assert len(worker.engine.running) == 5

            # The connection breaks, a container dies meanwhile, and the manager hears of it afterwards.
            connections[-1].drop()
            worker.engine.kill("t0")
            await asyncio.sleep(5)
            assert len(connections) == 2
            assert state(manager, "t0") is S.FAILED

            await manager.put(want(manager.store.view.tasks.get("t1"), S.REMOVE))
            await asyncio.sleep(1)
            assert state(manager, "t1") is S.SHUTDOWN
            await manager.remove(manager.store.view.tasks.get("t2"))
            await asyncio.sleep(1)
            assert worker.engine.running == ["web.1.t3", "web.1.t4"]
        # The agent dies, its records change, and what is left over goes when it is back.
        await manager.remove(manager.store.view.tasks.get("t3"))
        await asyncio.sleep(2)
        started = worker.engine.box("t4")
        async with worker.running():
            await asyncio.sleep(5)
            assert worker.engine.running == ["web.1.t4"]
            assert worker.engine.box("t4") == started
            assert state(manager, "t4") is S.RUNNING
    assert manager.errors == []


async def _an_engine_that_goes_and_comes_back():
    async with connected() as (manager, worker, _), worker.running():
        await asyncio.sleep(1)
        for _ in range(2):
            worker.engine.fall()
            await asyncio.sleep(11)
            status = manager.store.view.nodes.get(NODE).status
            assert status.state == "down", "it waits for no silence"
            assert status.message == "its engine cannot be used: the fake engine has ended"
            await asyncio.sleep(60)
            worker.engine.rise()
            await asyncio.sleep(1)
            status = manager.store.view.nodes.get(NODE).status
            assert (status.state, status.message) == ("ready", "")
    assert [error.message for error in manager.errors] == []


def test_an_engine_that_goes_and_comes_back():
    run_virtual(_an_engine_that_goes_and_comes_back())


async def _a_node_that_was_removed():
    async with connected() as (manager, worker, connections), worker.running():
        await manager.put(make_task("t1"))
        await asyncio.sleep(2)
        assert worker.engine.running == ["web.1.t1"]
        task = manager.store.view.tasks.get("t1")
        await manager.remove(task, manager.store.view.nodes.get(NODE))
        connections[-1].drop()
        await asyncio.sleep(10)
        assert worker.engine.names == []


def test_from_assignment_to_removal():
    run_virtual(_from_assignment_to_removal())


def test_a_node_removed_from_the_cluster_stops_its_tasks():
    run_virtual(_a_node_that_was_removed())

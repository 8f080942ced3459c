"""Which changes concern the allocator, and a task's way through it in a real store."""

from __future__ import annotations

import asyncio
import contextlib
import random

from msgspec.structs import replace

from common.clock import LoopClock
from common.model import Cluster, Network, Node, Service, StoredObject, Task, TaskState, TaskStatus
from common.model.network import IpamConfig, NetworkSpec
from common.model.node import NodeStatus
from common.model.service import NetworkAttachmentConfig, ServiceSpec, TaskSpec
from manager.loops.allocation import all_keys, allocation_rule, keys_of
from manager.loops.loop import Loop
from manager.loops.scheduling import Scheduling
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change
from manager.store.store import Store
from manager.store.transaction import Tables
from tests.fakes.virtual_loop import run_virtual

NET = Network(id="net", spec=NetworkSpec(name="net"))
ALLOCATED = replace(NET, subnets=(IpamConfig(subnet="10.0.0.0/16"),), vni=4097, leases={"n1": "10.0.16.0/24"})
SPEC = TaskSpec(networks=(NetworkAttachmentConfig(target="net"),))
NODE = Node(id="n1", agent=True, number=1, status=NodeStatus(state="ready"))
TASK = Task(id="t", service_id="s", spec=SPEC, desired_state=TaskState.RUNNING)
SERVICE = Service(id="s", spec=ServiceSpec(name="web", task_template=SPEC))


def world(*values: StoredObject) -> Tables:
    view = Tables()
    for value in values:
        view.of(type(value)).put(value)
    return view


def at(state: TaskState, node_id: str = "n1") -> Task:
    return replace(TASK, node_id=node_id, status=TaskStatus(state=state))


def keys(old: StoredObject | None, new: StoredObject | None) -> list[str]:
    return list(keys_of(Change(old=old, new=new), world(ALLOCATED)))


def test_what_lacks_something_concerns_it():
    assert keys(None, NET) == ["network/net"]
    assert keys(None, SERVICE) == ["service/s"]
    assert keys(None, TASK) == ["task/t"]
    assert keys(None, replace(NODE, number=0)) == ["node/n1"]


def test_what_lacks_nothing_does_not():
    assert keys(None, ALLOCATED) == []
    assert keys(SERVICE, replace(SERVICE, spec_version=7)) == []
    assert keys(NODE, replace(NODE, certificate_serials=("1",))) == []
    assert keys(None, replace(NODE, number=0, agent=False)) == []


def test_its_own_words_about_a_task_do_not():
    assert keys(TASK, replace(TASK, status=TaskStatus(err="no free subnet"))) == []


def test_a_lease_begins_and_ends_with_the_tasks_on_a_node():
    assert keys(at(TaskState.PENDING, ""), at(TaskState.ASSIGNED)) == ["lease/net/n1"]
    assert keys(at(TaskState.ASSIGNED), at(TaskState.RUNNING)) == []
    assert keys(at(TaskState.RUNNING), at(TaskState.FAILED)) == ["lease/net/n1"]
    assert keys(at(TaskState.RUNNING), None) == ["lease/net/n1"]
    assert keys(at(TaskState.FAILED), None) == ["lease/net/n1"], "with the record goes the reason to linger"


def test_a_node_that_turns_or_goes_concerns_its_leases():
    assert keys(NODE, replace(NODE, status=NodeStatus(state="down"))) == ["lease/net/n1"]
    assert keys(NODE, None) == ["lease/net/n1"]


def test_a_full_pass_names_all_that_may_lack_or_hold_something():
    view = world(ALLOCATED, SERVICE, replace(NODE, number=0), TASK, replace(at(TaskState.RUNNING, "n2"), id="u"))
    assert set(all_keys(view)) == {"service/s", "node/n1", "task/t", "lease/net/n1", "lease/net/n2"}


def test_a_task_gets_a_node_with_a_part_of_its_network():
    async def main() -> None:
        rng = random.Random(1)
        async with Store(MemoryBackend(delay=0.001), LoopClock()) as store:
            loops = [Loop(allocation_rule(), store, LoopClock(), rng).run(), Scheduling(store, LoopClock()).run()]
            running = [asyncio.create_task(loop) for loop in loops]
            values = (Cluster(id="c"), NET, SERVICE, replace(NODE, number=0), TASK)
            await store.update(lambda tx: [tx.put(value) for value in values])
            await asyncio.sleep(1)
            check(store)
            for each in running:
                each.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await each

    def check(store: Store) -> None:
        task, network, node = (
            store.view.tasks.get("t"),
            store.view.networks.get("net"),
            store.view.nodes.get("n1"),
        )
        assert task.status.state == TaskState.ASSIGNED
        assert task.node_id == "n1"
        assert network.leases == {"n1": "10.0.16.0/24"}
        assert node.number == 1
        assert len(store.view.services.get("s").endpoint.virtual_ips) == 1

    run_virtual(main())

"""Which changes concern the allocator, and a task's way through it in a real store."""

from __future__ import annotations

import asyncio
import contextlib
import random

from msgspec.structs import replace

from common.clock import LoopClock
from common.model import Cluster, Network, NetworkAttachment, Node, Service, StoredObject, Task, TaskState, TaskStatus
from common.model.container import DriverConfig
from common.model.network import IpamConfig, NetworkSpec
from common.model.node import NodeStatus, TunnelKey
from common.model.service import NetworkAttachmentConfig, ServiceSpec, TaskSpec
from manager.allocate.tunnel_keys import KEY, OVERLAP_SECONDS, ROTATE_SECONDS
from manager.loops.allocation import (
    all_attachments,
    all_keys,
    allocation_rule,
    attachment_keys,
    attachment_rule,
    keys_of,
    tunnel_key_of,
    tunnel_keys_rule,
)
from manager.loops.loop import Loop
from manager.loops.scheduling import Scheduling
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change
from manager.store.store import Store
from manager.store.tables import Tables
from tests.fakes.virtual_loop import run_virtual
from tests.fakes.world import World

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


def two_attachments() -> World:
    found = World()
    found.put(NetworkAttachment(id="a", node_id="n1", name="x"), NetworkAttachment(id="b", node_id="n2", name="y"))
    return found


def test_an_attachment_concerns_itself_until_it_is_gone() -> None:
    one = NetworkAttachment(id="a")
    assert list(attachment_keys(Change(None, one), two_attachments().tables)) == ["a"]
    assert list(attachment_keys(Change(one, None), two_attachments().tables)) == []


def test_a_node_that_went_concerns_its_attachments() -> None:
    node = Node(id="n1")
    assert list(attachment_keys(Change(node, None), two_attachments().tables)) == ["a"]
    assert list(attachment_keys(Change(node, Node(id="n1", number=1)), two_attachments().tables)) == []


def test_nothing_else_concerns_them() -> None:
    assert list(attachment_keys(Change(Service(id="s"), None), two_attachments().tables)) == []
    assert list(all_attachments(two_attachments().tables)) == ["a", "b"]
    assert attachment_rule().name == "attachments"


ENCRYPTED = NetworkSpec(name="secret", driver=DriverConfig(options={"encrypted": ""}))
SECRET_NET = Network(id="net", spec=ENCRYPTED)
LEASED = replace(SECRET_NET, leases={"n1": "10.0.16.0/24"})
KNOWN = replace(NODE, tunnel_keys=(TunnelKey(generation=1),))
CLUSTER = Cluster(id="c")


def concerns(old: StoredObject | None, new: StoredObject | None) -> bool:
    return list(tunnel_key_of(Change(old=old, new=new), Tables())) == [KEY]


def test_parts_of_encrypted_networks_concern_them():
    assert concerns(SECRET_NET, LEASED)
    assert concerns(LEASED, None)
    assert not concerns(SECRET_NET, SECRET_NET)
    plain = replace(SECRET_NET, spec=NetworkSpec(name="plain"))
    assert not concerns(plain, replace(plain, leases=LEASED.leases))


def test_returning_nodes_with_keys_and_rotations_are_visited():
    assert concerns(KNOWN, replace(KNOWN, status=NodeStatus(state="down")))
    assert not concerns(NODE, replace(NODE, status=NodeStatus(state="down")))
    assert not concerns(NODE, KNOWN)
    assert concerns(CLUSTER, replace(CLUSTER, tunnel_generation=1))
    assert not concerns(CLUSTER, replace(CLUSTER, subnet_size=20))


def test_keys_are_made_and_rotated_in_time():
    generations: list[list[int]] = []

    async def live() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store, asyncio.TaskGroup() as group:
            await store.update(lambda tx: [tx.put(each) for each in (CLUSTER, NODE, LEASED)])
            loop = group.create_task(Loop(tunnel_keys_rule(), store, LoopClock(), random.Random(1)).run())
            for pause in (1.0, ROTATE_SECONDS, OVERLAP_SECONDS):
                await asyncio.sleep(pause)
                (node,) = store.view.nodes
                generations.append([key.generation for key in node.tunnel_keys])
            loop.cancel()

    run_virtual(live())
    assert generations == [[1], [1, 2], [2]]

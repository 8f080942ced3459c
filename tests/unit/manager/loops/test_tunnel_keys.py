"""Which changes concern the keys of encrypted networks, and keys in a real store as time goes by."""

from __future__ import annotations

import asyncio
import random

from msgspec.structs import replace

from common.clock import LoopClock
from common.model import Cluster, Network, Node, StoredObject
from common.model.container import DriverConfig
from common.model.network import NetworkSpec
from common.model.node import NodeStatus, TunnelKey
from manager.allocate.tunnel_keys import KEY, OVERLAP_SECONDS, ROTATE_SECONDS
from manager.loops.loop import Loop
from manager.loops.tunnel_keys import keys_of, tunnel_keys_rule
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change
from manager.store.store import Store
from manager.store.transaction import Tables
from tests.fakes.virtual_loop import run_virtual

SPEC = NetworkSpec(name="secret", driver=DriverConfig(options={"encrypted": ""}))
NET = Network(id="net", spec=SPEC)
LEASED = replace(NET, leases={"n1": "10.0.16.0/24"})
NODE = Node(id="n1", agent=True, number=1, status=NodeStatus(state="ready"))
KNOWN = replace(NODE, tunnel_keys=(TunnelKey(generation=1),))
CLUSTER = Cluster(id="c")


def concerns(old: StoredObject | None, new: StoredObject | None) -> bool:
    return list(keys_of(Change(old=old, new=new), Tables())) == [KEY]


def test_parts_of_encrypted_networks_concern_them():
    assert concerns(NET, LEASED)
    assert concerns(LEASED, None)
    assert not concerns(NET, NET)
    plain = replace(NET, spec=NetworkSpec(name="plain"))
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

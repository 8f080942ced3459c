"""Where managers are, kept up with the store."""

import asyncio

from common.clock import SystemClock
from common.model import Cluster, Node
from common.model.node import ManagerStatus, NodeSpec
from manager.dispatch.managers import KnownManagers
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store


def manager(node_id: str, addr: str) -> Node:
    return Node(id=node_id, spec=NodeSpec(role="manager"), manager_status=ManagerStatus(addr=addr))


async def test_those_who_wait_hear_of_each_move_and_of_nothing_else() -> None:
    async with Store(MemoryBackend(), SystemClock()) as store:
        await store.update(lambda tx: tx.put(manager("a", "h1:2377")))
        known = KnownManagers(store, "h1:2377")
        assert known.addresses == ("h1:2377",)
        running = asyncio.ensure_future(known.run())
        moved = asyncio.ensure_future(known.moved())
        await store.update(lambda tx: tx.put(Cluster(id="c")))
        await store.update(lambda tx: tx.put(Node(id="w")))
        await asyncio.sleep(0)
        assert not moved.done()
        await store.update(lambda tx: tx.put(manager("b", "h2:2377")))
        await moved
        assert known.addresses == ("h1:2377", "h2:2377")
        assert [node.id for node in known.nodes] == ["a", "b"]
        running.cancel()


async def test_its_own_address_is_the_first_in_any_case() -> None:
    async with Store(MemoryBackend(), SystemClock()) as store:
        assert KnownManagers(store, "me:2377").addresses == ("me:2377",)
        await store.update(lambda tx: tx.put(manager("a", "h1:2377")))
        assert KnownManagers(store, "me:2377").addresses == ("me:2377", "h1:2377")

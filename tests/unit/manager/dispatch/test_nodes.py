import asyncio
from collections.abc import AsyncIterator

import pytest

from common.clock import LoopClock
from common.model import Node
from common.model.node import NodeDescription, NodeStatus
from manager.dispatch.batch import WriteBatch
from manager.dispatch.liveness import Losses
from manager.dispatch.nodes import NodeWrite, Ready, apply_node_writes
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with Store(MemoryBackend(), LoopClock()) as opened:
        await opened.update(lambda tx: tx.put(Node(id="n1", agent=True, status=NodeStatus(state="ready"))))
        yield opened


@pytest.fixture
async def writes(store: Store) -> AsyncIterator[WriteBatch[NodeWrite]]:
    writes = WriteBatch(store, apply_node_writes)
    running = asyncio.create_task(writes.run())
    yield writes
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_node_that_returns_at_the_moment_of_its_loss_is_ready(
    store: Store, writes: WriteBatch[NodeWrite]
) -> None:
    losses = Losses(store, writes, connected=set())
    running = asyncio.create_task(losses.run())
    await asyncio.sleep(0)
    losses.lost("n1")
    await asyncio.sleep(0)  # it is being written down
    losses.back("n1")
    await writes.submit(Ready("n1", NodeDescription(), "10.0.0.1", serial="7"))
    node = store.view.nodes.get("n1")
    assert node is not None
    assert node.status.state == "ready"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

"""Losses of nodes, as those hear of them who wait for one."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from common.clock import LoopClock
from common.errors import Unavailable
from common.model import Node
from common.model.node import NodeSpec, NodeStatus
from manager.api.engine.presence import Presence
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store

READY = Node(id="n1", agent=True, status=NodeStatus(state="ready"))
DOWN = msgspec.structs.replace(READY, status=NodeStatus(state="down"))
DRAINED = msgspec.structs.replace(DOWN, spec=NodeSpec(availability="drain"))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with Store(MemoryBackend(), LoopClock()) as opened:
        await opened.update(lambda tx: tx.put(READY))
        yield opened


async def test_a_lost_node_that_changes_again_ends_only_its_own_waits(store: Store) -> None:
    """What waits may take a while to end: its connections are closed first."""
    presence = Presence()
    watching = asyncio.create_task(presence.run(store))
    ending, changed = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        async with presence.guard(store.view, "n1"):
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                await changed.wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await store.update(lambda tx: tx.put(DOWN))
    await ending.wait()
    await store.update(lambda tx: tx.put(DRAINED))
    await asyncio.wait([watching], timeout=0.05)
    changed.set()
    with pytest.raises(Unavailable, match="node n1 was lost"):
        await waiting
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

"""A dispatcher that real TLS connections reach."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

from common.clock import SystemClock
from common.model import Cluster, Node, StoredObject
from common.model.node import NodeStatus
from common.wire.server import Server, serve
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.managers import KnownManagers
from manager.dispatch.reception import Reception
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.fakes.certificates import Pki


@contextlib.asynccontextmanager
async def served_dispatcher(pki: Pki, state: str = "unknown") -> AsyncIterator[tuple[Dispatcher, Server]]:
    """Serve a dispatcher on a free port of 127.0.0.1, for the nodes n1 and n2 with certificates of serial 7.

    `state` is what its store says of them when it starts.
    """
    clock = SystemClock()
    async with Store(MemoryBackend(), clock) as store:
        status = NodeStatus(state=state)
        stored: list[StoredObject] = [Cluster(id="cluster1")]
        stored += [Node(id=name, agent=True, status=status, certificate_serials=("7",)) for name in ("n1", "n2")]
        await store.update(lambda tx: [tx.put(value) for value in stored])
        dispatcher = Dispatcher(
            store, pki.authority, clock, random.SystemRandom(), manager_id="m1", managers=KnownManagers(store, "")
        )
        background = asyncio.create_task(dispatcher.run())
        await asyncio.sleep(0)  # it has begun
        try:
            async with await serve(
                "127.0.0.1", 0, pki.server(), Reception(pki.authority, clock, lambda: dispatcher).handle
            ) as server:
                yield dispatcher, server
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)

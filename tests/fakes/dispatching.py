"""A dispatcher on a store in memory, and workers that are the far ends of channels in memory."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from common.clock import LoopClock
from common.errors import Unavailable
from common.model import Cluster, Node, StoredObject
from common.model.node import NodeDescription, NodeStatus
from common.tls import ROLE_WORKER, Identity
from common.wire.channel import ChannelClosed, PeerInfo
from common.wire.handshake import check_welcome
from common.wire.memory import MemoryChannel, memory_channel_pair
from common.wire.message import Message
from common.wire.messages import PROTOCOL_VERSION, AnyMessage, Hello, Welcome
from manager.ca.authority import Authority, create_root
from manager.ca.tokens import new_tokens
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.managers import KnownManagers
from manager.dispatch.reception import Reception
from manager.store.backend import Backend
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import ChangeSet
from manager.store.store import Store

CLUSTER = "cluster1"
M = TypeVar("M", bound=Message)


class Worker:
    """The worker's end of a connection."""

    def __init__(self, channel: MemoryChannel) -> None:
        self.channel = channel

    async def say(self, message: AnyMessage, request_id: int = 0) -> None:
        await self.channel.send(message, request_id)

    async def expect(self, kind: type[M], request_id: int | None = None) -> M:
        """Receive until a message of this kind comes; the others are passed over."""
        while True:
            frame = await self.channel.receive()
            if isinstance(frame.message, kind) and request_id in (None, frame.id):
                return frame.message

    async def rest(self) -> AsyncIterator[AnyMessage]:
        """Receive all that comes until the connection ends."""
        with contextlib.suppress(ChannelClosed):
            while True:
                yield (await self.channel.receive()).message

    async def hello(self, **fields: object) -> Welcome:
        values = {"description": NodeDescription(hostname="host"), **fields}
        await self.say(Hello(protocol=PROTOCOL_VERSION, **values), 1)  # type: ignore[arg-type]
        return check_welcome((await self.channel.receive()).message)


class FullBackend(MemoryBackend):
    """A backend whose disk may be full."""

    full = False

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        if self.full:
            raise Unavailable("the disk is full")
        await super().commit(change_sets)


class Manager:
    """A store with a cluster, and a running dispatcher."""

    def __init__(self, backend: Backend | None = None) -> None:
        self.clock = LoopClock()
        self.rng = random.Random(1)
        self.authority = Authority(create_root(CLUSTER, self.clock.now()))
        self.store = Store(backend or MemoryBackend(), self.clock)
        self.dispatcher = Dispatcher(
            self.store,
            self.authority,
            self.clock,
            self.rng,
            manager_id="m1",
            managers=KnownManagers(self.store, "10.0.0.1:2377"),
        )
        self.reception = Reception(self.authority, self.clock, lambda: self.dispatcher)
        self._connections: set[asyncio.Task[None]] = set()
        self.errors: list[BaseException] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Manager"]:
        async with self.store:
            if not len(self.store.view.clusters):
                tokens = new_tokens(self.authority.digest, self.rng)
                await self.put(Cluster(id=CLUSTER, join_tokens=tokens))
            task = asyncio.create_task(self.dispatcher.run())
            try:
                yield self
            finally:
                for connection in (task, *self._connections):
                    connection.cancel()
                await asyncio.gather(task, *self._connections, return_exceptions=True)

    async def put(self, *values: StoredObject) -> None:
        await self.store.update(lambda tx: [tx.put(value) for value in values])

    async def remove(self, *values: StoredObject) -> None:
        await self.store.update(lambda tx: [tx.remove(value) for value in values])

    async def node(self, node_id: str) -> None:
        await self.put(
            Node(
                id=node_id,
                agent=True,
                certificate_serials=("7",),
                status=NodeStatus(state="unknown", addr="10.0.0.9"),
            )
        )

    def connect(self, peer: PeerInfo) -> Worker:
        near, far = memory_channel_pair(client=peer)
        connection = asyncio.create_task(self._handle(far))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        return Worker(near)

    def dial(self, node_id: str, *, role: str = ROLE_WORKER, serial: str = "7", cluster: str = CLUSTER) -> Worker:
        identity = Identity(node_id, role, cluster, serial)
        return self.connect(PeerInfo(identity, "10.0.0.9", "10.0.0.1"))

    async def session(self, node_id: str) -> Worker:
        """Make the node when there is none, and open a session as it."""
        if node_id not in self.store.view.nodes:
            await self.node(node_id)
        worker = self.dial(node_id)
        await worker.hello()
        return worker

    async def _handle(self, channel: MemoryChannel) -> None:
        try:
            await self.reception.handle(channel)
        except Exception as error:  # noqa: BLE001 - kept for the test to look at
            self.errors.append(error)

"""The real worker on a fake engine, connected in memory to whatever takes channels: for tests and the simulation."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from common.clock import Clock
from common.errors import Unavailable
from common.wire.channel import Channel
from common.wire.handshake import check_unfit_reply, check_welcome
from common.wire.membership_messages import Unfit
from common.wire.messages import Hello, OpenStream, RenewReply, RenewRequest, Welcome
from tests.fakes.engine import FakeEngine
from tests.fakes.worker_parts import FakeFiles, FakeMemory, FakeNetworks, idle_host
from worker.agent import Agent, HostParts
from worker.host.description import Identity
from worker.images.serve import ImageServer
from worker.interfaces.networks import Networks
from worker.link.conversation import ConversationParts
from worker.link.interfaces import Dialler, Renewal
from worker.link.requests import Requests
from worker.link.session import Session


class MemoryDialler:
    """The `Dialler` of `worker.link.interfaces`: `connect(address)` gives a channel, or raises Unavailable."""

    def __init__(self, connect: Callable[[str], Channel]) -> None:
        self._connect = connect

    async def session(self, address: str, hello: Hello) -> tuple[Channel, Welcome]:
        channel = self._connect(address)
        try:
            async with asyncio.timeout(10):
                await channel.send(hello, 1)
                return channel, check_welcome((await channel.receive()).message)
        except TimeoutError:
            await channel.close()
            raise Unavailable(f"{address} did not answer") from None
        except BaseException:
            await channel.close()
            raise

    async def unfit(self, address: str, reason: str) -> None:
        channel = self._connect(address)
        try:
            await channel.send(Unfit(reason=reason), 1)
            check_unfit_reply((await channel.receive()).message)
        finally:
            await channel.close()

    async def stream(self, address: str, opened: OpenStream) -> None:
        """There are no bytes to carry: whoever asked runs into its own time limit."""

    async def refuse(self, address: str, opened: OpenStream, why: str) -> None:
        """Likewise."""


class _NeverRenewed:
    async def due(self) -> RenewRequest:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    def renew_now(self) -> None:
        """There is no certificate to renew."""

    def renewed(self, reply: RenewReply) -> str:
        raise AssertionError(f"nobody asked for {reply}")


class RealWorker:
    """One node. What outlives a process (`engine`, `memory`, `files`, `networks`) outlives a `running` block.

    `networks`, `dialler` and `renewal` may be replaced before it runs.
    """

    def __init__(
        self,
        node_id: str,
        engine: FakeEngine,
        connect: Callable[[str], Channel],
        *,
        clock: Clock,
        rng: random.Random,
        managers: Sequence[str] = ("manager:2377",),
    ) -> None:
        self.node_id = node_id
        self.engine = engine
        self.memory = FakeMemory()
        self.files = FakeFiles()
        self.networks: Networks = FakeNetworks()
        self.dialler: Dialler = MemoryDialler(connect)
        self.renewal: Renewal = _NeverRenewed()
        self.requests = Requests()
        self._clock = clock
        self._rng = rng
        self._managers = tuple(managers)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        """Run the worker in this block; leaving it is the agent's death, containers live on."""
        news = asyncio.Event()
        parts = HostParts(
            engine=self.engine, networks=self.networks, files=self.files, memory=self.memory, read_host=idle_host
        )
        agent = Agent(Identity(node_id=self.node_id, version="simulated"), parts, self._clock, news)
        server = ImageServer(self.engine, self._clock)
        session = Session(
            ConversationParts(self.dialler, agent, agent.reporter, self.renewal, self.requests, server),
            managers=lambda: self._managers,
            clock=self._clock,
            rng=self._rng,
            news=news,
        )
        jobs = [asyncio.create_task(agent.run()), asyncio.create_task(session.run())]
        try:
            yield agent
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)
            for job in jobs:
                if not job.cancelled():
                    job.result()

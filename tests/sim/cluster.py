"""A whole cluster in virtual time: the real manager on a backend in memory, simulated hosts, and what joins them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Collection
from types import SimpleNamespace
from typing import TypeVar

from common.clock import SECOND, Clock, LoopClock
from common.errors import SwarmError, Unavailable
from common.model import Cluster as ClusterRecord
from common.model import Task
from common.model.cluster import ClusterSpec
from common.model.cluster import Dispatcher as DispatcherSpec
from common.model.service import GenericResource
from common.wire.memory import MemoryChannel, memory_channel_pair
from manager.ca.authority import Authority
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.managers import KnownManagers
from manager.dispatch.reception import Reception
from manager.domain.transfers import TransferProgress
from manager.loops.allocation import allocation_rule
from manager.loops.autoscaling import Autoscaling
from manager.loops.loop import Loop, Rule
from manager.loops.orchestration import orchestration_rules
from manager.loops.scheduling import Scheduling
from manager.loops.transfers import Transfers
from manager.store.backend import Backend
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.view import View
from tests.sim.host import Habits, Host
from tests.sim.invariants import Broken, CheckedBackend, Complaints, node_row
from tests.sim.operator import Operator, remove_if_down
from tests.sim.scaling import Loads
from tests.sim.volumes.disks import Ledger

T = TypeVar("T")


class Leader:
    """What a manager runs over an open store while it leads: all that the real one runs, but the API.

    `authority` is for those who join; without one nobody can. `rules` are those that run besides the usual ones.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        seed: str,
        *,
        authority: Authority | None = None,
        rules: Collection[Rule] = (),
    ) -> None:
        self.store = store
        self._clock = clock
        self._seed = seed
        self._authority = authority
        self._rules = rules
        self._rngs: dict[str, random.Random] = {}
        self._connections: dict[asyncio.Task[None], MemoryChannel] = {}
        self.dispatcher: Dispatcher | None = None
        self.reception: Reception | None = None

    @contextlib.asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        nobody_joins = SimpleNamespace(cluster_id="cluster", root_certificate=b"root")
        authority: Authority = self._authority or nobody_joins  # type: ignore[assignment]
        dispatcher = Dispatcher(
            self.store,
            authority,
            self._clock,
            self._rng("dispatch"),
            manager_id="manager",
            managers=KnownManagers(self.store, "manager:2377"),
        )
        autoscaling = Autoscaling(self.store, dispatcher.soft.measurements, self._clock)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = []
                for rule in (*orchestration_rules(), allocation_rule(), *self._rules):
                    loop = Loop(rule, self.store, self._clock, self._rng(rule.name))
                    tasks.append(group.create_task(loop.run(), name=rule.name))
                tasks.append(group.create_task(Scheduling(self.store, self._clock).run(), name="scheduling"))
                tasks.append(group.create_task(dispatcher.run(), name="dispatch"))
                tasks.append(group.create_task(autoscaling.run(), name="autoscaling"))
                moves = Transfers(self.store, self._clock, dispatcher.open_stream, TransferProgress())
                tasks.append(group.create_task(moves.run(), name="moves of volumes"))
                await asyncio.sleep(0)
                self.dispatcher = dispatcher
                self.reception = Reception(authority, self._clock, lambda: self.dispatcher)
                yield
                for task in tasks:
                    task.cancel()
        finally:
            self.dispatcher = None
            await self._hang_up()

    def _rng(self, name: str) -> random.Random:
        """Return the chance of one part, which goes on where it was when the manager leads again."""
        return self._rngs.setdefault(name, random.Random(f"{self._seed}/{name}"))

    def accept(self, host: Host, latency: float) -> MemoryChannel:
        """Connect a host, whose connection is served as the real listener would.

        Raises:
            Unavailable: nothing listens.

        """
        near, far = memory_channel_pair(client=host.peer, latency=latency)
        self.serve(far, host.node_id)
        return near

    def serve(self, channel: MemoryChannel, name: str) -> None:
        """Serve the manager's end of a connection; `name` is for the stack traces of those who look for a fault.

        Raises:
            Unavailable: nothing listens.

        """
        if self.dispatcher is None or self.reception is None:
            raise Unavailable("connection refused")
        serving = asyncio.create_task(self._serve(self.reception, channel), name=f"serve-{name}")
        self._connections[serving] = channel
        serving.add_done_callback(self._connections.pop)

    @staticmethod
    async def _serve(reception: Reception, channel: MemoryChannel) -> None:
        with contextlib.suppress(SwarmError):
            await reception.handle(channel)

    async def _hang_up(self) -> None:
        connections = list(self._connections)
        for channel in self._connections.values():
            channel.drop("the manager is gone")
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


class Manager(Leader):
    """The only manager: it leads for as long as it runs."""

    def __init__(
        self,
        backend: Backend,
        clock: LoopClock,
        seed: str,
        *,
        authority: Authority | None = None,
        rules: Collection[Rule] = (),
    ) -> None:
        super().__init__(Store(backend, clock), clock, seed, authority=authority, rules=rules)
        self.ready = asyncio.Event()

    async def run(self) -> None:
        async with self.store, self.leading():
            self.ready.set()
            await asyncio.get_running_loop().create_future()


class Cluster(Operator):
    """The cluster, as its operator sees it: `update` stands for the API."""

    def __init__(
        self,
        seed: int,
        *,
        heartbeat: float = 1.0,
        latency: float = 0.01,
        commit: float = 0.002,
        stored_within: float = 1.0,
    ) -> None:
        self.seed = seed
        self.clock = LoopClock()
        self.habits = Habits(use=self._use)
        self.loads = Loads(self.clock)
        self.continued = {}
        rng = random.Random(f"{seed}/backend")
        self.backend = CheckedBackend(self.clock, commit, rng, self.loads, self.continued, within=stored_within)
        self.hosts: dict[str, Host] = {}
        self.ledger = Ledger()
        self.restarts = 0
        self._latency = latency
        self._heartbeat = heartbeat
        self._manager: Manager | None = None
        self._running: asyncio.Task[None] | None = None
        self._complaints = Complaints()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        log = logging.getLogger("manager")
        log.addHandler(self._complaints)
        await self.start_manager()
        spec = ClusterSpec(dispatcher=DispatcherSpec(heartbeat_period=int(self._heartbeat * SECOND)))
        await self.update(lambda tx: tx.put(ClusterRecord(id="cluster", spec=spec)))
        try:
            yield
        finally:
            for host in self.hosts.values():
                await host.power_off()
            await self.end()
            log.removeHandler(self._complaints)

    def _use(self, task: Task) -> float | None:
        """Return a task's share of the load on its service."""
        if not self.loads.measurable:
            return None
        serving = sum(each.serves for each in self.view.tasks.of_service(task.service_id))
        return self.loads.now(task.service_id) / max(1, serving)

    @property
    def view(self) -> View:
        assert self._manager is not None
        return self._manager.store.view

    async def start_manager(self) -> None:
        self._manager = Manager(self.backend, self.clock, f"{self.seed}/{self.restarts}")
        self._running = asyncio.create_task(self._manager.run(), name="manager")
        await self._manager.ready.wait()

    async def stop_manager(self) -> None:
        """End the manager wherever it is; what it had not stored is lost."""
        assert self._running is not None
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        self.restarts += 1

    async def end(self) -> None:
        """End all that manages."""
        await self.stop_manager()

    async def update(self, fn: Callable[[Transaction], T]) -> T:
        assert self._manager is not None
        return await self._manager.store.update(fn)

    async def repeat(self, fn: Callable[[Transaction], object]) -> None:
        """Make a change that may be made twice, until it is sure that it was."""
        await self.update(fn)

    async def add_host(self, node_id: str, things: tuple[GenericResource, ...] = (), **spec: object) -> Host:
        await self.repeat(lambda tx: tx.put(node_row(node_id, **spec)) if node_id not in tx.nodes else None)
        host = self.hosts[node_id] = Host(node_id, self.seed, self._dial, self.habits, things, self.ledger)
        host.power_on()
        return host

    def _dial(self, host: Host) -> MemoryChannel:
        if host.cut or self._manager is None:
            raise Unavailable("no route to host")
        return self._manager.accept(host, self._latency)

    async def remove_node(self, node_id: str) -> None:
        """Remove a node as the API allows it: when it is down."""
        removed = await self.update(remove_if_down(node_id))
        if removed:
            await self.hosts.pop(node_id).power_off()

    # --- whether all is well ---

    def check(self) -> None:
        """Fail if an invariant was broken, the manager complained, or it ended."""
        if self._running is not None and self._running.done() and not self._running.cancelled():
            self._running.result()
            raise Broken("the manager ended by itself")
        self._look()
        if self.backend.broken:
            raise Broken(self.backend.broken[0])
        if self.ledger.broken:
            raise Broken("\n".join(self.ledger.broken))
        if self._complaints.heard:
            raise Broken("the manager complained:\n" + "\n".join(self._complaints.heard))

    def _look(self) -> None:
        """Check that nothing is overdue, if there is somebody to do it."""
        self.backend.look()

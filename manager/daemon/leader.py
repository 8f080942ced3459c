"""What a manager runs while it leads: the loops decide, the dispatcher serves workers. New for each leadership.

The API reaches the nodes' engines through the present dispatcher, which exists only while this manager leads.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from common.aio.steady import keep_going
from common.clock import Clock
from common.errors import Unavailable
from common.wire.manager_messages import WireEpoch
from manager.api.engine.connections import Duplex
from manager.ca.authority import Authority
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.managers import KnownManagers
from manager.loops.allocation import allocation_rule, attachment_rule, tunnel_keys_rule
from manager.loops.autoscaling import Autoscaling
from manager.loops.loop import Loop
from manager.loops.orchestration import orchestration_rules
from manager.loops.root_rotation import root_rotation_rule
from manager.loops.scheduling import Scheduling
from manager.loops.transfers import Transfers
from manager.metrics.instruments import Instruments
from manager.metrics.soft_state import SoftState
from manager.schedule.load import ClusterLoad
from manager.store.store import Store


@dataclass(frozen=True, slots=True)
class Core:
    """What a manager has from its start to its end, whoever leads."""

    store: Store
    authority: Authority
    clock: Clock
    rng: random.Random
    node_id: str
    managers: KnownManagers
    soft: SoftState
    instruments: Instruments


class LeaderParts:
    """What this manager runs only while it leads: the dispatcher, None when it does not lead, and the loops."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.dispatcher: Dispatcher | None = None
        self._scheduling: Scheduling | None = None

    @property
    def load(self) -> ClusterLoad | None:
        """What the scheduler knows of the nodes' load; None while this manager does not schedule."""
        return self._scheduling.load if self._scheduling is not None else None

    @contextlib.asynccontextmanager
    async def begin(self, epoch: WireEpoch = (0, 0)) -> AsyncIterator[None]:
        """Lead while the context lasts, as the leader of an epoch: (generation, number).

        A bug that ends one of the parts ends the context.
        """
        core = self._core
        dispatcher = Dispatcher(
            core.store,
            core.authority,
            core.clock,
            core.rng,
            manager_id=core.node_id,
            managers=core.managers,
            soft=core.soft,
            relayed=core.instruments.relayed,
            epoch=epoch,
        )
        transfers = Transfers(core.store, core.clock, dispatcher.open_stream, core.soft.transfers)
        async with running(*self._loops(), keep_going("moves of volumes", transfers.run), dispatcher.run()):
            self.dispatcher = dispatcher
            try:
                yield
            finally:
                self.dispatcher = self._scheduling = None
                dispatcher.end()

    def _loops(self) -> list[Coroutine[Any, Any, None]]:
        store, clock, rng, watch = self._core.store, self._core.clock, self._core.rng, self._core.instruments
        self._scheduling = Scheduling(store, clock)
        rules = (*orchestration_rules(), attachment_rule(), allocation_rule(), tunnel_keys_rule(), root_rotation_rule())
        return [
            *(keep_going(rule.name, Loop(rule, store, clock, rng, watch).run) for rule in rules),
            keep_going("scheduling", self._scheduling.run),
            keep_going("autoscaling", Autoscaling(store, self._core.soft.measurements, clock).run),
        ]


@contextlib.asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run background work while the context lasts; its failure ends the context."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        yield
        for task in tasks:
            task.cancel()


class LeaderEngines:
    """The `Engines` (manager.api.engine.connections) of a manager. `present` returns the present dispatcher.

    All methods raise `Unavailable` while this manager does not lead.
    """

    def __init__(self, present: Callable[[], Dispatcher | None]) -> None:
        self._present = present

    @property
    def _dispatcher(self) -> Dispatcher:
        dispatcher = self._present()
        if dispatcher is None:
            raise Unavailable("this manager does not lead the cluster, so no worker is connected to it: try again")
        return dispatcher

    def session(self, node_id: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=self._dispatcher.engine_connector(node_id))

    async def connect(self, node_id: str) -> Duplex:
        return await self._dispatcher.open_stream(node_id, "engine")

    async def metrics(self, node_id: str) -> Duplex:
        return await self._dispatcher.open_stream(node_id, "metrics")

    async def volumes(self, node_id: str, target: str) -> Duplex:
        return await self._dispatcher.open_stream(node_id, target)

    def connected(self) -> frozenset[str]:
        return frozenset(self._dispatcher.connected)

    async def image_holders(self, image_id: str) -> Mapping[str, str]:
        return await self._dispatcher.images.holders(image_id)

    async def bring_image(self, node_id: str, image_id: str) -> str:
        return await self._dispatcher.images.bring(node_id, image_id)

    async def applied(self) -> None:
        await self._dispatcher.applied()

"""An honest worker of the simulation: the real agent and data plane, on a host whose kernel is simulated.

Its plans, the text that `nft` would be given and the names that its containers could ask for are what an evil node must
not get into.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from common.clock import Clock
from common.errors import SwarmError, Unavailable
from common.model.container import Mount
from common.model.task import Task
from common.wire.channel import Channel
from common.wire.messages import OpenStream, StreamHello
from tests.fakes.container_engine import ContainerEngine
from tests.fakes.engine import FakeEngine, Program
from tests.fakes.real_worker import MemoryDialler, RealWorker
from tests.hostile.lines import MemoryLine, SocketedChannel
from worker.agent import Agent
from worker.intake.addresses import IPAddress
from worker.intake.world import NetworkWorld
from worker.interfaces.engine import Container, ContainerUsage, Engine, Image
from worker.net.apply.netlink import Seen
from worker.net.dataplane import DataPlane
from worker.net.ipam import TaskAddresses
from worker.net.plan import ruleset, service_table
from worker.net.plan.host_plan import HostPlan
from worker.net.plan.ruleset import Ruleset
from worker.net.plan.service_table import ServiceTable
from worker.net.plan.topology import NodeTopology
from worker.net.reconciler import HostSurvey, NetworkReconciler
from worker.net.resolve.answers import lookup
from worker.net.resolve.zones import LocalContainer, View, Zones, zones_of
from worker.net.watch.capabilities import Encryption

WIREGUARD = Encryption("wireguard", ())


class SimulatedNames:
    """`worker.net.dns.service.ClusterDns` without its server: what it would answer is in `zones`."""

    def __init__(self) -> None:
        self.zones = Zones()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def update(
        self,
        world: NetworkWorld,
        topology: NodeTopology,
        attached: Mapping[str, Mapping[str, IPAddress]],
        draining: Collection[str],
    ) -> None:
        containers = [LocalContainer(task_id=task_id, addresses=addresses) for task_id, addresses in attached.items()]
        self.zones = zones_of(world, topology, containers, draining)

    def nameserver(self, network_ids: Collection[str]) -> str:
        return ""

    def resolv_conf(self, task: Task, nameserver: str) -> tuple[Mount, ...]:
        return ()

    def admit(self, task: Task) -> None:
        pass

    readmit = admit

    def release(self, task_id: str) -> None:
        pass

    def check(self) -> None:
        pass

    def lacks(self) -> tuple[str, ...]:
        return ()

    def remove_all(self) -> None:
        pass


class SimulatedTables:
    """`worker.net.apply.nft.NftTables` without a kernel: `scripts` has the text of each transaction."""

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self._applied: dict[str, Ruleset] = {}
        self._services: dict[str, ServiceTable] = {}

    def apply(self, wanted: Collection[Ruleset], services: Collection[ServiceTable]) -> None:
        for table in wanted:
            before = self._applied.pop(table.family, None)
            text = ruleset.whole(table) if before is None else ruleset.difference(before, table)
            if text:
                self.scripts.append(text)
            self._applied[table.family] = table
        for each in services:
            known = self._services.pop(each.family, None)
            try:
                service_table.whole(each) if known is None else service_table.difference(known, each)
            except (OSError, ValueError, OverflowError) as error:
                raise Unavailable(f"the manager says of services what cannot be read: {error}") from error
            self._services[each.family] = each


class SimulatedHost:
    """`worker.net.apply.host.Host` that only writes down what it is to be."""

    def __init__(self, tables: SimulatedTables) -> None:
        self.tables = tables
        self.ipv6_refusal = ""
        self.has_rules = False
        self.wireguard = SimpleNamespace(survey=_nothing, answered=frozenset(), wanted={})

    async def apply(self, plan: HostPlan, seen: Seen | None) -> None:
        self.tables.apply([*plan.rulesets, *([plan.way_back] if plan.way_back is not None else [])], plan.services)
        self.has_rules = True

    async def set_hairpins(self, seen: Seen) -> None:
        pass


def image_id(content: str) -> str:
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


async def _nothing(*_: Any) -> None:
    pass


class SimulatedPorts:
    """`worker.net.ports.reservations.PortReservations` of a host on which every port is free."""

    held: frozenset[tuple[str, int, str]] = frozenset()

    def keep(self, wanted: Collection[tuple[str, int, str]]) -> None:
        pass


class SimulatedReconciler(NetworkReconciler):
    """The real loop over the real plan, on a `SimulatedHost`. `address` is the host's own."""

    def __init__(
        self, engine: Engine, survey: HostSurvey, addresses: TaskAddresses, names: SimulatedNames, address: str
    ) -> None:
        super().__init__(engine, survey, addresses, names, Path("/nonexistent"))  # type: ignore[arg-type]
        self.tables = SimulatedTables()
        self.ports = SimulatedPorts()  # type: ignore[assignment]
        self._address = address

    async def look(self) -> Seen:
        """Be the kernel that is asked."""
        return Seen(addresses={self._address: 1500})

    async def run(self) -> None:
        await self._keep(SimulatedHost(self.tables), self)  # type: ignore[arg-type]


class SimulatedPlane(DataPlane):
    """The real data plane around a `SimulatedReconciler`."""

    def __init__(
        self, engine: Engine, node_id: str, clock: Clock, address: str, elsewhere: Callable[[], Awaitable[None]]
    ) -> None:
        names, survey = SimulatedNames(), HostSurvey(node_id, address, WIREGUARD)
        super().__init__(engine, survey, names, clock, Path("/nonexistent"), elsewhere)  # type: ignore[arg-type]
        self.names = names
        self.reconciler = self._reconciler = SimulatedReconciler(engine, survey, self._addresses, names, address)

    def hindrance(self, task: Task) -> str:
        return ""

    async def silent_ports(self, task: Task, container: Container) -> tuple[int, ...]:
        return ()


class _StreamingDialler(MemoryDialler):
    """Carries streams, too: what is at their end is `serve`."""

    def __init__(
        self,
        connect: Callable[[str], SocketedChannel],
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ) -> None:
        super().__init__(connect)
        self._dial = connect
        self._serve = serve

    async def stream(self, address: str, opened: OpenStream) -> None:
        channel = self._dial(address)
        await channel.send(StreamHello(stream_id=opened.stream_id))
        with contextlib.suppress(SwarmError):
            await self._serve(*MemoryLine(channel).bare())


class HonestWorker:
    """One honest node. `connect` opens a connection to the manager as this node."""

    def __init__(
        self,
        node_id: str,
        host: str,
        connect: Callable[[], Channel],
        *,
        address: str,
        images: Collection[str],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.node_id = node_id
        self.engine = FakeEngine(name=host)
        for image in images:
            self.build(image)
        # What each of its containers uses.
        self.cores = 0.0
        # What clients of the API ask: another face of the same host.
        self.api = ContainerEngine(Path(f"/nonexistent/{node_id}"), answers={"GET /images/json": (200, [])})
        self._worker = RealWorker(node_id, self.engine, lambda _: connect(), clock=clock, rng=rng)
        self._worker.dialler = _StreamingDialler(lambda _: connect(), self.api._serve)  # type: ignore[arg-type,return-value]
        elsewhere = self._worker.requests.all_applied
        self.plane = SimulatedPlane(self.engine, node_id, clock, address, elsewhere)
        self._worker.networks = self.plane

    def build(self, name: str) -> str:
        """Have an image here by this name, as if it was built here; return its id. The same name is the same image."""
        image = Image(id=image_id(name), size=1000, layers=(image_id(f"layer of {name}"),), names=(name,))
        for reference in (name, image.id):
            self.engine.images[reference] = Program()
            self.engine.details[reference] = image
        return image.id

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        async with self._worker.running() as agent:
            agent._meter._read = self._used
            yield agent

    async def _used(self, pid: int, container_id: str) -> ContainerUsage:
        """Be the files in which the kernel says what a container has used."""
        return ContainerUsage(cpu=self.cores * asyncio.get_running_loop().time(), memory=1e6)

    @property
    def world(self) -> NetworkWorld:
        """What it was told of the network."""
        return self.plane.reconciler.world

    @property
    def plan(self) -> HostPlan:
        """What its host has, or is to have."""
        assert self.plane.reconciler.plan is not None, f"{self.node_id} has not planned anything yet"
        return self.plane.reconciler.plan

    @property
    def trouble(self) -> str:
        """Why its host cannot be as planned, empty where it is."""
        return self.plane.reconciler.trouble

    @property
    def zones(self) -> Zones:
        return self.plane.names.zones

    @property
    def scripts(self) -> list[str]:
        """What `nft` was given, one text a transaction."""
        return self.plane.reconciler.tables.scripts

    def resolves(self, network_id: str, name: str) -> list[str]:
        """Return the addresses that a container in one network is told for a name; none where it is nobody's here."""
        zone = self.zones.zones.get(network_id)
        found = lookup(View((zone,)), name.lower()) if zone is not None else None
        return [str(ipaddress.ip_address(each)) for each in found or ()]

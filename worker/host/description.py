"""What this host says of itself to a manager, kept true: its engine, its resources, and what it lacks.

Containers that are not tasks are counted with what they reserve, for the scheduler. People start containers beside the
cluster, on its hosts and through its API; nobody but the engine knows of them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from common.errors import SwarmError
from common.model.node import EngineDescription, NodeDescription, NodeResources, PlainContainers, Plugin
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec, Platform
from common.text.quantities import NANO_CPUS
from common.wire.allowances import ENTRIES_BYTES, fitting
from worker.engine.liveness import EnginePresence
from worker.interfaces.engine import (
    JSON,
    Container,
    ContainerEvent,
    Engine,
    EngineConnected,
    EngineDown,
    EngineEvent,
    EngineLost,
    Phase,
)
from worker.interfaces.networks import Networks
from worker.interfaces.volumes import VolumeParts

# What a host has and lacks can change without a word from the engine: plugins, kernel modules, firewalls.
DESCRIBE_SECONDS = 60.0
_RETRY_SECONDS = 1.0
# Where containers come and go beside the cluster all the time, the manager hears of it so often at most.
UNMANAGED_SECONDS = 5.0
# The engine's events that change whether a container runs, or what it reserves. Others are not asked for.
_RESERVING_ACTIONS = ("start", "die", "update")
# Bytes of a message that each list of a description may take.
_SHARE = ENTRIES_BYTES // 6
_PLUGIN_KINDS = {"Volume": "Volume", "Network": "Network", "Log": "Log", "Authorization": "Authorization"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a worker is, as it tells managers.

    version: the program's. advertise_addr: where other workers reach this host; empty for the manager to see.
    image_port: where they fetch images from it; 0: nowhere, they do so through the manager.
    """

    node_id: str
    version: str
    advertise_addr: str = ""
    image_port: int = 0


class HostDescription:
    """Describes the host anew whenever something of it changes. `run` until cancelled.

    volumes: what cares for this host's volumes: the description says which of it there is.
    lacks: returns what the host lacks beside what its networks lack, a sentence each.
    tell: called after every new description.
    """

    def __init__(
        self,
        identity: Identity,
        engine: Engine,
        networks: Networks,
        volumes: VolumeParts,
        lacks: Callable[[], Collection[str]],
        tell: Callable[[], None],
    ) -> None:
        self.description = NodeDescription()
        self._identity = identity
        self._engine = engine
        self._networks = networks
        self._volumes = volumes
        self._other_lacks = lacks
        self._tell = tell
        self._unmanaged = UnmanagedWatch(engine, identity.node_id)
        self._presence = EnginePresence()
        self._info: JSON = {}
        self._lacks: tuple[str, ...] = ()
        self._announced = NodeDescription()
        self._to_ask = asyncio.Event()
        self._known = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_engine())
            group.create_task(self._follow_networks())
            group.create_task(self._unmanaged.run())
            group.create_task(self._follow_unmanaged())

    # --- what a session asks ------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until the host is described and its engine answers."""
        await self._known.wait()
        await self._presence.there()

    async def engine_missed(self) -> str:
        """Wait until the engine is away, and was for a while; say why."""
        return await self._presence.missed()

    @property
    def data_root(self) -> str:
        """Where the engine keeps its data, as it says; empty while it has not said."""
        return str(self._info.get("DockerRootDir") or "")

    def announce(self) -> NodeDescription:
        """Return the description for a manager that has none yet."""
        self._announced = self.description
        return self.description

    async def changed(self) -> NodeDescription:
        """Wait until the description is not the one that was announced; return it as announced."""
        while self._announced == self.description:
            self._changed.clear()
            await self._changed.wait()
        return self.announce()

    # --- what changes it ----------------------------------------------------------------------------------------------

    def note_engine(self, event: EngineConnected | EngineLost) -> None:
        if self._presence.note(event):
            _log.info("the engine answers again")
        if isinstance(event, EngineConnected):
            self._to_ask.set()

    def note_lacks(self) -> None:
        """Take note that the host lacks something else."""
        if self._known.is_set():
            self._describe()

    async def _ask_engine(self) -> None:
        """Ask the engine anew whenever it comes up, as it may be another then, and now and again."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DESCRIBE_SECONDS if self._known.is_set() else None):
                    await self._to_ask.wait()
            self._to_ask.clear()
            await self._presence.there()
            try:
                self._info = await self._engine.info()
            except SwarmError as error:
                _log.warning("cannot describe this host: %s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)
                self._to_ask.set()
                continue
            self._describe()

    async def _follow_networks(self) -> None:
        """Describe the host as soon as its networks lack something else, or nothing any more."""
        while True:
            await self._networks.looked()
            if self._known.is_set() and self._lacks_now() != self._lacks:
                self._describe()

    async def _follow_unmanaged(self) -> None:
        """Describe the host when other containers run beside the tasks, or reserve something else."""
        await self._known.wait()
        while True:
            if self._unmanaged.load != self.description.plain:
                self._describe()
                await asyncio.sleep(UNMANAGED_SECONDS)
            await self._unmanaged.changed()

    def _lacks_now(self) -> tuple[str, ...]:
        return (*self._networks.lacks(), *self._other_lacks())

    def _describe(self) -> None:
        networks = self._networks
        self._lacks = self._lacks_now()
        self.description = structs.replace(
            describe(self._info, self._identity.version, self._lacks),
            encryption=networks.encryption(),
            ipv6=networks.ipv6(),
            ipv6_addresses=fitting(networks.ipv6_addresses(), _SHARE),
            plain=self._unmanaged.load,
            volumes=self._volumes.marks is not None,
            snapshots=self._volumes.snapshots is not None,
        )
        self._known.set()
        self._changed.set()
        self._tell()


def describe(info: Mapping[str, Any], agent_version: str, lacks: Collection[str] = ()) -> NodeDescription:
    """Describe this host as its engine does; what the agent knows besides is left at its defaults.

    Of lists that are longer than a message has room for, the end is left out.

    Args:
        info: the engine's answer to GET /info, with that to GET /version under `Version`.
        agent_version: this program's release.
        lacks: missing rights or tools, one sentence each; limits that the engine cannot keep are added.

    """
    version = info.get("Version") or {}
    return NodeDescription(
        hostname=info.get("Name", ""),
        platform=Platform(architecture=info.get("Architecture", ""), os=info.get("OSType", "linux")),
        resources=NodeResources(
            nano_cpus=int(info.get("NCPU", 0)) * NANO_CPUS,
            memory_bytes=int(info.get("MemTotal", 0)),
            generic_resources=fitting(_generic(info.get("GenericResources") or ()), _SHARE),
        ),
        engine=EngineDescription(
            engine_version=info.get("ServerVersion", ""),
            api_version=version.get("ApiVersion", ""),
            min_api_version=version.get("MinAPIVersion", ""),
            labels=dict(fitting((label.partition("=")[::2] for label in info.get("Labels") or ()), _SHARE)),
            plugins=fitting(_plugins(info.get("Plugins") or {}), _SHARE),
        ),
        lacks=fitting((*lacks, *_engine_lacks(info)), _SHARE),
        agent_version=agent_version,
        measures=True,
        clock=True,
    )


def _plugins(plugins: Mapping[str, Any]) -> tuple[Plugin, ...]:
    """List plugins sorted by kind and name, so that an equal host has an equal description."""
    found = [
        Plugin(type=_PLUGIN_KINDS.get(kind, kind), name=name) for kind, names in plugins.items() for name in names or ()
    ]
    return tuple(sorted(found, key=lambda plugin: (plugin.type, plugin.name)))


def _generic(resources: Collection[Mapping[str, Any]]) -> tuple[GenericResource, ...]:
    found = []
    for resource in resources:
        if named := resource.get("NamedResourceSpec"):
            spec = NamedResourceSpec(kind=named["Kind"], value=named["Value"])
            found.append(GenericResource(named_resource_spec=spec))
        elif discrete := resource.get("DiscreteResourceSpec"):
            count = DiscreteResourceSpec(kind=discrete["Kind"], value=int(discrete["Value"]))
            found.append(GenericResource(discrete_resource_spec=count))
    return tuple(found)


def _engine_lacks(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Say which limits the engine cannot keep: its own warnings about the kernel would reach nobody."""
    limits = {
        "MemoryLimit": "the kernel has no memory cgroup: memory limits do not work",
        "CpuCfsQuota": "the kernel has no CPU quota: CPU limits do not work",
        "PidsLimit": "the kernel has no pids cgroup: limits of processes do not work",
    }
    return tuple(sentence for key, sentence in limits.items() if info.get(key) is False)


class UnmanagedWatch:
    """Counts the running containers that are not tasks, and what they reserve (`load`).

    `run` until cancelled; `changed` returns when `load` may have changed.
    """

    def __init__(self, engine: Engine, node_id: str) -> None:
        self._engine = engine
        self._node_id = node_id
        self._running: dict[str, Container] = {}
        self._changed = asyncio.Event()

    @property
    def load(self) -> PlainContainers:
        running = self._running.values()
        return PlainContainers(
            count=len(running),
            nano_cpus=sum(each.reserved_cpus for each in running),
            memory_bytes=sum(each.reserved_memory for each in running),
        )

    async def changed(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    async def run(self) -> None:
        """Follow the engine's events; each time it comes up, list all containers anew."""
        async with aclosing(self._engine.events({}, _RESERVING_ACTIONS)) as events:
            async for event in events:
                try:
                    await self._take(event)
                except SwarmError as error:
                    # It goes down: what is known stays, and all are listed when it is back.
                    _log.debug("cannot see what containers beside the cluster reserve: %s", error.message)

    async def _take(self, event: EngineEvent) -> None:
        match event:
            case EngineConnected():
                await self._list()
            case ContainerEvent(container_id=container_id, action="die"):
                if self._running.pop(container_id, None) is not None:
                    self._changed.set()
            case ContainerEvent(container_id=container_id, agent=agent) if agent != self._node_id:
                await self._look(container_id)

    async def _list(self) -> None:
        running = {
            each.id
            for each in await self._engine.containers({})
            if each.agent != self._node_id and each.phase is Phase.RUNNING
        }
        for gone in self._running.keys() - running:
            del self._running[gone]
        self._changed.set()
        for container_id in running:
            await self._look(container_id)

    async def _look(self, container_id: str) -> None:
        """Ask for one container, as lists and events do not say what it reserves; an unreadable one does not count.

        Raises:
            EngineDown: the engine does not answer.

        """
        try:
            found = await self._engine.inspect(container_id)
        except EngineDown:
            raise
        except Exception as error:  # noqa: BLE001 - people's containers may be as nobody has foreseen
            _log.warning("container %s, beside the cluster, is not counted: %r", container_id[:12], error)
            return
        if found is not None and found.phase is Phase.RUNNING:
            self._running[container_id] = found
        else:
            self._running.pop(container_id, None)
        self._changed.set()

"""What this host says of itself to a manager, kept true: its engine, its resources, and what it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection

from common.errors import SwarmError
from common.model.node import NodeDescription
from worker.engine.presence import EnginePresence
from worker.host import resources
from worker.interfaces import JSON, Engine, EngineConnected, EngineLost, Networks
from worker.unmanaged.usage import UnmanagedWatch

# What a host has and lacks can change without a word from the engine: plugins, kernel modules, firewalls.
DESCRIBE_SECONDS = 60.0
_RETRY_SECONDS = 1.0
# Where containers come and go beside the cluster all the time, the manager hears of it so often at most.
UNMANAGED_SECONDS = 5.0

_log = logging.getLogger(__name__)


class HostDescription:
    """Describes the host anew whenever something of it changes. `run` until cancelled.

    version: the agent's release.
    lacks: what the host lacks beside what its networks do, a sentence each.
    tell: called with every new description.
    volumes, snapshots: as `NodeDescription` has them.
    """

    def __init__(
        self,
        engine: Engine,
        networks: Networks,
        node_id: str,
        version: str,
        lacks: Callable[[], Collection[str]],
        tell: Callable[[], None],
        *,
        volumes: bool = False,
        snapshots: bool = False,
    ) -> None:
        self.description = NodeDescription()
        self._engine = engine
        self._networks = networks
        self._version = version
        self._other_lacks = lacks
        self._tell = tell
        self._volumes = volumes
        self._snapshots = snapshots
        self._unmanaged = UnmanagedWatch(engine, node_id)
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
        self.description = resources.describe(
            self._info,
            self._version,
            self._lacks,
            networks.encryption(),
            ipv6=networks.ipv6(),
            ipv6_addresses=networks.ipv6_addresses(),
            plain=self._unmanaged.load,
            volumes=self._volumes,
            snapshots=self._snapshots,
        )
        self._known.set()
        self._changed.set()
        self._tell()

"""Networks without a data plane: each network of the cluster is a plain bridge of this host.

Tasks on one host reach each other by address and name; hosts do not see each other, and only host-mode ports are
published. It is what a worker has that may not or cannot program its host.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping

from common.errors import SwarmError
from common.model.service import NetworkAttachmentConfig
from common.model.task import Task
from common.net.engine_networks import PREDEFINED_NETWORKS
from worker.intake.identifiers import container_name
from worker.intake.world import Network, NetworkWorld
from worker.interfaces.engine import JSON, LABEL_AGENT, Container, Engine
from worker.interfaces.networks import Attachment, NetworkEndpoint

LABEL_NETWORK = "swarm.x.network"

_log = logging.getLogger(__name__)


class LocalNetworks:
    """A `Networks` (worker.interfaces) of bridges, made for the first task that needs one, removed after the last."""

    def __init__(self, engine: Engine, node_id: str, missing: Collection[str] = ()) -> None:
        self._engine = engine
        self._node_id = node_id
        self._missing = tuple(missing)
        self._world = NetworkWorld()
        self._changed = asyncio.Event()
        self._users: dict[str, set[str]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for network_id in [network_id for network_id in self._users if network_id not in self._world.networks]:
                await self._remove_unused(network_id)

    def update(self, world: NetworkWorld) -> None:
        self._world = world
        self._changed.set()

    def reserve(self, holder: str, addresses: Mapping[str, str]) -> None:
        """Reserve nothing: addresses are the engine's."""

    async def attach(self, task: Task) -> Attachment:
        attachment = self._attachment(task)
        for end in attachment.endpoints:
            async with self._locks[end.network_id]:
                if end.network_id not in self._users:
                    await self._make(end, self._world.networks.get(end.network_id))
                    self._users[end.network_id] = set()
                self._users[end.network_id].add(task.id)
        return attachment

    def hindrance(self, task: Task) -> str:  # noqa: ARG002
        return "the engine has not made its network yet"

    async def adopted(self, task: Task, container: Container) -> Attachment:  # noqa: ARG002 - what it has is enough
        attachment = self._attachment(task)
        for end in attachment.endpoints:
            self._users.setdefault(end.network_id, set()).add(task.id)
        return attachment

    async def started(self, task: Task, container: Container) -> None:
        """Nothing is left to do: the engine has connected it."""

    async def silent_ports(self, task: Task, container: Container) -> tuple[int, ...]:  # noqa: ARG002
        """Nothing is balanced here: nobody waits for a program to listen."""
        return ()

    async def in_line(self) -> None:
        """Nothing follows the world here."""

    async def drain(self, task: Task) -> None:
        """Nothing is balanced here."""

    async def release(self, task_id: str) -> None:
        for network_id, users in list(self._users.items()):
            users.discard(task_id)
            if not users:
                await self._remove_unused(network_id)

    async def remove_all(self) -> None:
        for network in await self._engine.networks({LABEL_AGENT: self._node_id}):
            await self._engine.remove_network(network["Id"])
        self._users.clear()

    def lacks(self) -> Collection[str]:
        return (
            "no data plane: networks do not span hosts, and ports are not published in the routing mesh",
            *self._missing,
        )

    def encryption(self) -> str:
        """Return that nothing does: no traffic leaves the host."""
        return ""

    async def looked(self) -> None:
        """Wait for ever: what is missing stays missing until the worker starts anew."""
        await asyncio.Event().wait()

    def ipv6(self) -> bool:
        """Refuse no task for lack of IPv6: the bridges of a single host are made without it."""
        return True

    def ipv6_addresses(self) -> Collection[str]:
        """Return none: without a data plane they are of no use."""
        return ()

    def _attachment(self, task: Task) -> Attachment:
        wanted = [(config, self._network_name(config.target)) for config in task.spec.networks]
        for _, name in wanted:
            if name in PREDEFINED_NETWORKS:
                return Attachment(mode=name)
        return Attachment(endpoints=tuple(self._endpoint(task, config, name) for config, name in wanted))

    def _network_name(self, target: str) -> str:
        network = self._world.networks.get(target)
        return network.name if network is not None else target

    def _endpoint(self, task: Task, config: NetworkAttachmentConfig, name: str) -> NetworkEndpoint:
        return NetworkEndpoint(
            network=container_name(f"{name}.{self._node_id}"),  # "container:…" would be another thing to an engine
            network_id=config.target,
            aliases=(*config.aliases, task.service_name),
            driver_opts=config.driver_opts,
        )

    async def _make(self, end: NetworkEndpoint, network: Network | None) -> None:
        labels = {LABEL_AGENT: self._node_id, LABEL_NETWORK: end.network_id}
        if await self._engine.networks(labels):
            return  # from before this agent started
        body: JSON = {"Name": end.network, "Driver": "bridge", "Labels": labels}
        if network is not None:
            body |= {"Internal": network.internal, "Labels": {**network.labels, **labels}}
        await self._engine.create_network(body)

    async def _remove_unused(self, network_id: str) -> None:
        async with self._locks[network_id]:
            if self._users.get(network_id):
                return
            labels = {LABEL_AGENT: self._node_id, LABEL_NETWORK: network_id}
            try:
                for network in await self._engine.networks(labels):
                    await self._engine.remove_network(network["Id"])
                self._users.pop(network_id, None)
            except SwarmError as error:
                # Something that is not ours uses it, or the engine is away: the next release tries again.
                _log.warning("cannot remove the bridge of network %s: %s", network_id, error.message)

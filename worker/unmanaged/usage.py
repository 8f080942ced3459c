"""Containers of this engine that are not tasks: how many run and what they reserve, for the scheduler to count them.

People start containers beside the cluster, on its hosts and through its API; nobody but the engine knows of them all.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from common.errors import SwarmError
from common.model.node import PlainContainers
from worker.interfaces import Container, ContainerEvent, Engine, EngineConnected, EngineDown, EngineEvent, Phase

# What changes whether a container runs or what it reserves. Nothing else of a busy host's containers is heard here.
WATCHED_ACTIONS = ("start", "die", "update")

_log = logging.getLogger(__name__)


class UnmanagedWatch:
    """Counts them. `run` until cancelled; `changed` tells when `load` may be another."""

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
        """Listen; each time the engine comes up, look at all of them anew."""
        async with aclosing(self._engine.events({}, WATCHED_ACTIONS)) as events:
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
        """Ask for one: lists and events do not say what it reserves. One that cannot be read costs no other its count.

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

"""Nodes that did not come in time: what is written of each, and why it did not, as far as that is known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Iterable

from common.errors import Unavailable
from common.model import Node
from common.model.node import SILENT
from manager.dispatch.batch import WriteBatch
from manager.dispatch.nodes import Down, NeverCame, NodeWrite
from manager.state.store import Store

# How long to wait when the store did not take a write.
RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Losses:
    """The nodes that were lost and are not yet written down, and what those that come were refused for."""

    def __init__(self, store: Store, writes: WriteBatch[NodeWrite], connected: Container[str]) -> None:
        self._store = store
        self._writes = writes
        self._connected = connected
        self._lost: dict[str, None] = {}
        self._something_lost = asyncio.Event()
        self._refusals: dict[str, str] = {}

    def lost(self, node_id: str) -> None:
        """Take a node for lost."""
        self._lost[node_id] = None
        self._something_lost.set()

    def back(self, node_id: str) -> None:
        """Hear that a node has a session."""
        self._lost.pop(node_id, None)
        self._refusals.pop(node_id, None)

    def forget(self, node_id: str) -> None:
        """Hear that a node was removed."""
        self._refusals.pop(node_id, None)

    async def refused(self, node: Node, why: str) -> None:
        """Hear why a node gets no session: its record says so, once it is down.

        Raises:
            Unavailable: the store did not take it.

        """
        self._refusals[node.id] = why
        if node.status.state == "down" and node.status.message != why:
            await self._writes.submit(Down(node.id, why))

    async def run(self) -> None:
        """Write lost nodes down, all at once. While the store takes nothing, those that come back are struck off."""
        while True:
            await self._something_lost.wait()
            self._something_lost.clear()
            lost, self._lost = self._lost, {}
            writes = [self._writes.submit(self._judge(node)) for node in self._not_down(lost)]
            try:
                await asyncio.gather(*writes)
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
                self._lost.update((node_id, None) for node_id in lost if node_id not in self._connected)
                self._something_lost.set()

    def _not_down(self, node_ids: Iterable[str]) -> list[Node]:
        nodes = map(self._store.view.nodes.get, node_ids)
        return [node for node in nodes if node is not None and node.status.state != "down"]

    def _judge(self, node: Node) -> Down | NeverCame:
        if node.joining is not None:
            _log.warning("the join of node %s (%s) is taken back: no session followed it", node.id, node.name)
            return NeverCame(node.id)
        why = self._refusals.get(node.id) or _why(node)
        _log.warning("node %s (%s) is down: %s", node.id, node.name, why)
        return Down(node.id, why)


def _why(node: Node) -> str:
    if node.status.state == "disconnected":
        return "its agent was stopped on purpose, and did not come back in time"
    return SILENT

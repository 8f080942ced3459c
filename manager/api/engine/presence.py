"""Presence of nodes: what waits for a node ends as soon as the node is lost.

A host that is cut off closes no connection: a `docker wait` or `logs -f` that reads from it would wait for hours. The
dispatcher notices after three heartbeats, and writes it into the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.errors import Unavailable
from common.model import Node
from manager.domain.hostnames import node_name
from manager.store.store import Records
from manager.store.view import View
from manager.store.watch import Lagged


def is_ready(node: Node | None) -> bool:
    """Whether the node has an agent that is in touch."""
    return node is not None and node.agent and node.status.state == "ready"


def ready_nodes(view: View) -> list[Node]:
    """Return the nodes whose engines can be asked."""
    return [node for node in view.nodes if is_ready(node)]


def ready_ids(view: View) -> list[str]:
    return [node.id for node in ready_nodes(view)]


class Presence:
    """The requests that wait for each node. Losses are noticed only while `run` is running."""

    def __init__(self) -> None:
        self._waits: dict[str, set[asyncio.Timeout]] = {}

    async def run(self, store: Records) -> None:
        """Watch the nodes until cancelled."""
        with store.watch(kinds=(Node,)) as subscription:
            while True:
                try:
                    batch = await subscription.next()
                except Lagged:
                    self._look(store.view, list(self._waits))
                    continue
                nodes = {c.current.id for changes in batch for c in changes.changes if isinstance(c.current, Node)}
                self._look(store.view, nodes & self._waits.keys())

    def _look(self, view: View, node_ids: list[str] | set[str]) -> None:
        for node_id in node_ids:
            if not is_ready(view.nodes.get(node_id)):
                for wait in self._waits.pop(node_id):  # only once: a wait may take a while to end
                    wait.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def guard(self, view: View, node_id: str) -> AsyncIterator[None]:
        """Run the block as long as the node is ready.

        Raises:
            Unavailable: the node is lost, now or in the course of the block.

        """
        name = node_name(view, node_id)
        if not is_ready(view.nodes.get(node_id)):
            raise Unavailable(f"node {name} is not connected: look at 'node ls', and at the worker's log there")
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self._waits.setdefault(node_id, set()).add(wait)
                try:
                    yield
                finally:
                    self._discard(node_id, wait)
        except TimeoutError:
            if not wait.expired():
                raise
            raise Unavailable(f"node {name} was lost during this request: look at 'node ls'") from None

    def _discard(self, node_id: str, wait: asyncio.Timeout) -> None:
        waits = self._waits.get(node_id, set())
        waits.discard(wait)
        if not waits:
            self._waits.pop(node_id, None)

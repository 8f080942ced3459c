"""Which nodes are alive: a node is lost exactly one grace period after its last sign of life, by the loop's clock.

The manager's own stalls never count against a node. When the watcher wakes late, the loop was busy or the process was
stopped, and what a node said meanwhile may still lie unread in a socket: so that lateness is added to the grace of
every node that was last heard before it.

A lost node's record says so, and why if that is known (`Losses`).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from common.errors import Unavailable
from common.model import Node
from common.model.node import SILENT
from manager.dispatch.batch import WriteBatch
from manager.dispatch.nodes import Down, JoinExpired, NodeWrite
from manager.store.store import Store

# Seconds until the watcher wakes at the latest: shorter ticks notice shorter stalls.
TICK = 0.25
# Lateness below this is the loop's ordinary work.
TOLERANCE = 0.01
# More stalls than fit into any grace period.
_MAX_STALLS = 64

# How long to wait when the store did not take a write.
RETRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Watch:
    node_id: str
    heard: Callable[[], float]
    grace: Callable[[], float]


class Liveness:
    """Watches the last sign of life of each node, and calls `lost` with its id once when that is too old."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._watched: dict[str, _Watch] = {}
        self._due: list[tuple[float, int, _Watch]] = []
        self._order = itertools.count()  # two watches are never compared themselves
        # (when it ended, how long it was)
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_MAX_STALLS)

    def watch(self, node_id: str, heard: Callable[[], float], grace: Callable[[], float]) -> None:
        """Watch a node, in place of an earlier watch.

        `heard` returns the loop's time of its last sign of life, `grace` how many seconds it may be silent since then;
        both may grow.
        """
        watch = self._watched[node_id] = _Watch(node_id, heard, grace)
        self._push(watch, self._deadline(watch))

    def forget(self, node_id: str) -> None:
        self._watched.pop(node_id, None)

    def watches(self, node_id: str) -> bool:
        return node_id in self._watched

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            wake = loop.time() + TICK
            if self._due:
                wake = min(wake, max(self._due[0][0], loop.time()))
            await asyncio.sleep(wake - loop.time())
            late = loop.time() - wake
            if late > TOLERANCE:
                self._stalls.append((loop.time(), late))
            if self._due and self._due[0][0] <= loop.time():
                # Two turns, so that the loop has read its sockets once more before anyone is judged by them.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                self._judge(loop.time())

    def _judge(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, _, watch = heapq.heappop(self._due)
            if self._watched.get(watch.node_id) is not watch:
                continue
            deadline = self._deadline(watch)
            if deadline > now:
                self._push(watch, deadline)
            else:
                del self._watched[watch.node_id]
                self._lost(watch.node_id)

    def _push(self, watch: _Watch, deadline: float) -> None:
        heapq.heappush(self._due, (deadline, next(self._order), watch))

    def _deadline(self, watch: _Watch) -> float:
        heard = watch.heard()
        return heard + watch.grace() + sum(length for ended, length in self._stalls if ended > heard)


# --- lost nodes ---


class Arrivals:
    """Nodes whose workers are about to connect: what is asked of such a node waits for it, instead of failing.

    A manager that has just started knows all nodes by the store, and has a connection to none.
    """

    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Event] = {}

    def expect(self, node_id: str) -> None:
        """Have what is asked of a node wait for its worker, until `over` is called of it."""
        self._expected.setdefault(node_id, asyncio.Event())

    def over(self, node_id: str) -> None:
        """Hear that a node is connected, or that it is lost."""
        if expected := self._expected.pop(node_id, None):
            expected.set()

    async def wait(self, node_id: str, seconds: float) -> None:
        """Return when a node is connected or need not be waited for, after `seconds` at the latest."""
        if expected := self._expected.get(node_id):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await expected.wait()


class Losses:
    """Nodes whose loss is not in the store yet, and why nodes that connected were refused."""

    def __init__(self, store: Store, writes: WriteBatch[NodeWrite], connected: Container[str]) -> None:
        self._store = store
        self._writes = writes
        self._connected = connected
        self._lost: dict[str, None] = {}
        self._something_lost = asyncio.Event()
        self._refusals: dict[str, str] = {}

    def lost(self, node_id: str) -> None:
        """Note that a node is lost."""
        self._lost[node_id] = None
        self._something_lost.set()

    def back(self, node_id: str) -> None:
        """Note that a node has a session."""
        self._lost.pop(node_id, None)
        self._refusals.pop(node_id, None)

    def forget(self, node_id: str) -> None:
        """Forget a node that was removed."""
        self._refusals.pop(node_id, None)

    async def refused(self, node: Node, why: str) -> None:
        """Note why a node gets no session; its record says so once it is down.

        Raises:
            Unavailable: the store did not take it.

        """
        self._refusals[node.id] = why
        if node.status.state == "down" and node.status.message != why:
            await self._writes.submit(Down(node.id, why))

    async def run(self) -> None:
        """Mark lost nodes down, all at once. While the store is unavailable, those that come back are dropped."""
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

    def _judge(self, node: Node) -> Down | JoinExpired:
        if node.joining is not None:
            _log.warning("the join of node %s (%s) is cancelled: no session followed", node.id, node.name)
            return JoinExpired(node.id)
        why = self._refusals.get(node.id) or _why(node)
        _log.warning("node %s (%s) is down: %s", node.id, node.name, why)
        return Down(node.id, why)


def _why(node: Node) -> str:
    if node.status.state == "disconnected":
        return "its agent was stopped, and did not come back in time"
    return SILENT

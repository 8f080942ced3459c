"""Which nodes are alive: a node is lost exactly one grace period after its last sign of life, by the loop's clock.

The manager's own stalls never count against a node. When the watcher wakes late, the loop was busy or the process was
stopped, and what a node said meanwhile may still lie unread in a socket: so that lateness is added to the grace of
every node that was last heard before it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# How often the watcher wakes at least: the shorter, the shorter the stalls that it notices.
TICK = 0.25
# Lateness below this is the loop's ordinary work.
TOLERANCE = 0.01
# More stalls than fit into any grace period are not remembered.
_MAX_STALLS = 64


@dataclass(frozen=True, slots=True)
class _Watch:
    node_id: str
    heard: Callable[[], float]
    grace: float


class Liveness:
    """Watches the last sign of life of each node and reports once when it is too old.

    `lost` is called with the node's id.
    """

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._watched: dict[str, _Watch] = {}
        self._due: list[tuple[float, int, _Watch]] = []
        self._order = itertools.count()  # two watches are never compared themselves
        # (when it ended, how long it was)
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_MAX_STALLS)

    def watch(self, node_id: str, heard: Callable[[], float], grace: float) -> None:
        """Watch a node, in place of an earlier watch.

        `heard` tells the loop's time of its last sign of life; `grace` is in seconds, and this watch's own: a heartbeat
        period that is changed later binds the sessions after it.
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
        return heard + watch.grace + sum(length for ended, length in self._stalls if ended > heard)

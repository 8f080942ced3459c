"""Waiting until every node has applied what was decided.

A container is stopped only when no node sends to it any longer, and a started one is reported when all know its name. A
new leader does not know what the nodes have applied: those that were ready count as behind until they are back and have
applied what it sends, or their time to come back is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

from common.aio.rate_limit import Rate, RateLimit
from common.aio.steady import Rounds

GATHER_SECONDS = 0.002
# A node that hangs must not keep others' tasks from stopping: it is down soon after.
PATIENCE_SECONDS = 2.0
# Seconds that each node may take each time. What it takes beyond that is charged to a budget of a few seconds, which
# refills slowly; once that is used up the node gets no more, or a broken one would delay every stop of a task.
USUAL_SECONDS = 0.25
SLOWNESS = Rate(burst=4.0, per_second=1 / 30)

_log = logging.getLogger(__name__)


class Follower(Protocol):
    """What the barrier needs of a node's session."""

    @property
    def behind(self) -> bool:
        """Whether its worker has not applied everything that it was sent."""

    def caught_up(self) -> asyncio.Future[None]:
        """Return a future that is done when the worker has applied all that is decided now, or the session ends."""


class Barrier:
    """Waits for all sessions, by node id."""

    def __init__(self, sessions: Mapping[str, Follower]) -> None:
        self._sessions = sessions
        self._given_up: set[str] = set()
        self._slowness = RateLimit(SLOWNESS)
        self._rounds = Rounds(self._wait, GATHER_SECONDS)
        self._returning: set[str] = set()
        self._returning_until = 0.0
        self._all_back = asyncio.Event()

    def expect(self, node_ids: Iterable[str], seconds: float) -> None:
        """Count nodes as behind until `back` is called for them, or `seconds` have passed."""
        self._returning.update(node_ids)
        self._returning_until = asyncio.get_running_loop().time() + seconds

    def back(self, node_id: str) -> None:
        """Note that a node is connected and has applied something, or will not come back."""
        self._returning.discard(node_id)
        if not self._returning:
            self._all_back.set()

    async def passed(self) -> None:
        """Wait until every worker has applied what is decided now.

        A node that takes too long is not waited for again until it has caught up. One that repeatedly takes long is
        soon waited for only briefly.
        """
        await self._rounds.served()

    async def _wait(self) -> None:
        await self._wait_for_return()
        waiting = {
            node_id: session.caught_up()
            for node_id, session in self._sessions.items()
            if session.behind and node_id not in self._given_up
        }
        outcomes = await asyncio.gather(*(self._caught_up(*each) for each in waiting.items()))
        late = sorted(node_id for node_id, in_time in zip(waiting, outcomes, strict=True) if not in_time)
        if late:
            _log.warning("stopping containers although these nodes may still send to them: %s", ", ".join(late))

    async def _wait_for_return(self) -> None:
        if not self._returning:
            return
        try:
            async with asyncio.timeout_at(self._returning_until):
                await self._all_back.wait()
        except TimeoutError:
            late, self._returning = sorted(self._returning), set()
            if late:
                _log.warning("stopping containers although these nodes have not come back: %s", ", ".join(late))

    async def _caught_up(self, node_id: str, waiting: asyncio.Future[None]) -> bool:
        """Wait for one node within its budget; return whether it was in time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        patience = min(PATIENCE_SECONDS, USUAL_SECONDS + max(0.0, self._slowness.left(node_id, began)))
        await asyncio.wait((waiting,), timeout=patience)
        self._slowness.spend(node_id, max(0.0, loop.time() - began - USUAL_SECONDS), loop.time())
        if not waiting.done():
            self._given_up.add(node_id)
            waiting.add_done_callback(lambda _: self._given_up.discard(node_id))
        return waiting.done()


class Progress:
    """Which assignment set the worker of one session has applied; unknown until it first says so."""

    def __init__(self) -> None:
        self._applied: int | None = None
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def known(self) -> bool:
        return self._applied is not None

    def behind(self, number: int) -> bool:
        """Whether it is known not to have applied set `number` yet."""
        return self._applied is not None and self._applied < number

    def applied(self, number: int) -> None:
        """Note that the worker has applied set `number`."""
        self._applied = number
        while self._waiting and self._waiting[0][0] <= number:
            _done(self._waiting.popleft()[1])

    def when(self, number: int, waiting: asyncio.Future[None]) -> None:
        """Complete `waiting` when set `number` is applied. Numbers must not decrease."""
        if self.behind(number):
            self._waiting.append((number, waiting))
        else:
            _done(waiting)

    def end(self) -> None:
        while self._waiting:
            _done(self._waiting.popleft()[1])


def _done(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)

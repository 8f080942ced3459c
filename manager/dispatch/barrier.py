"""Waiting until every node has applied what was decided.

A container is stopped when nobody sends to it any more, and one has started for its user when all know its name. A
manager that has just begun to lead does not know what the nodes have: those that were there are behind until they are
back and have applied what it says, or have had their time to come back.
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
# A node that hangs is no reason to keep others' tasks: after a little longer it is down.
PATIENCE_SECONDS = 2.0
# What a node takes beyond this is taken from what the others wait for it in all: a few seconds, of which little comes
# back. One that has used that up is waited for no longer than this: else a broken one delays every stop of a task.
USUAL_SECONDS = 0.25
SLOWNESS = Rate(burst=4.0, per_second=1 / 30)

_log = logging.getLogger(__name__)


class Follower(Protocol):
    """A node's session, as the barrier sees it."""

    @property
    def behind(self) -> bool:
        """Whether its worker has yet to apply something."""

    def caught_up(self) -> asyncio.Future[None]:
        """Return what is done when its worker has applied all that is decided now, or the session has ended."""


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
        """Take nodes for behind until `back` is called of them, or so many seconds have passed."""
        self._returning.update(node_ids)
        self._returning_until = asyncio.get_running_loop().time() + seconds

    def back(self, node_id: str) -> None:
        """Hear that a node is connected and has applied something, or does not come back."""
        self._returning.discard(node_id)
        if not self._returning:
            self._all_back.set()

    async def passed(self) -> None:
        """Wait until every worker has applied what is decided now.

        One that takes too long is not waited for, and not again either until it has caught up with that. One that
        takes long time and again is soon waited for hardly at all.
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
        """Wait for one node for as long as it is worth it; whether it was in time."""
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
    """How far the worker of one session is. Nothing is known of one that has not said anything yet."""

    def __init__(self) -> None:
        self._applied: int | None = None
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def known(self) -> bool:
        return self._applied is not None

    def behind(self, number: int) -> bool:
        """Whether it has yet to apply the set of this number."""
        return self._applied is not None and self._applied < number

    def applied(self, number: int) -> None:
        """Take the worker's word that it has applied the set of this number."""
        self._applied = number
        while self._waiting and self._waiting[0][0] <= number:
            _done(self._waiting.popleft()[1])

    def when(self, number: int, waiting: asyncio.Future[None]) -> None:
        """Finish `waiting` when the set of this number is applied. Numbers never go back."""
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

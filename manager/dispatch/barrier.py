"""Waiting until every node has applied what was decided.

A container is stopped when nobody sends to it any more, and one has started for its user when all know its name.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from common.rounds import Rounds

GATHER_SECONDS = 0.002
# A node that hangs is no reason to keep others' tasks: after a little longer it is down.
PATIENCE_SECONDS = 2.0

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
        self._rounds = Rounds(self._wait, GATHER_SECONDS)

    async def passed(self) -> None:
        """Wait until every worker has applied what is decided now.

        One that takes too long is not waited for, and not again either until it has caught up with that.
        """
        await self._rounds.served()

    async def _wait(self) -> None:
        waiting = {
            session.caught_up(): node_id
            for node_id, session in self._sessions.items()
            if session.behind and node_id not in self._given_up
        }
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=PATIENCE_SECONDS)
        for each in late:
            self._given_up.add(waiting[each])
            each.add_done_callback(lambda done: self._given_up.discard(waiting[done]))
        if late:
            nodes = ", ".join(sorted(waiting[each] for each in late))
            _log.warning("not waited for, though they may still send to containers that stop now: nodes %s", nodes)


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

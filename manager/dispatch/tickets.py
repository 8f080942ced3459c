"""Tickets that let a worker's host join once as a manager: what `node promote` gives it."""

from __future__ import annotations

import random
from collections.abc import Callable

from manager.ca.tokens import new_token

TICKET_SECONDS = 60.0


class Tickets:
    """Those that were given and not used yet. They are of one leader, and lost with it. `now` is the loop's time.

    A ticket looks like a join token, so that who has it knows which root to believe.
    """

    def __init__(self, rng: random.Random, now: Callable[[], float]) -> None:
        self._rng = rng
        self._now = now
        self._given: dict[str, tuple[str, float]] = {}

    def give(self, node_id: str, digest: str) -> str:
        """Make a ticket for a node, in place of one that it has; `digest` is that of the root."""
        self._given = {ticket: each for ticket, each in self._given.items() if each[0] != node_id}
        ticket = new_token(digest, self._rng)
        self._given[ticket] = node_id, self._now() + TICKET_SECONDS
        return ticket

    def redeem(self, text: str) -> str:
        """Return the node that a ticket is for, and have it be worth nothing from now on; empty: it is none."""
        node_id, until = self._given.pop(text, ("", 0.0))
        return node_id if self._now() < until else ""

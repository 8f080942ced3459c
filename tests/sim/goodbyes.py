"""Goodbyes in their own words: an agent that was stopped on purpose has its time to come back, and no more."""

from __future__ import annotations

from collections.abc import Iterator

from common.model import Node
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.sim.placement import Complaint

GRACE = 30.0
# How long after its time a node is overdue to be down, commits that fail and stalls included.
_PATIENCE = 8.0


class Goodbyes:
    """Remembers since when nodes are without their agent.

    `lag`: how many seconds may pass between a goodbye and its commit, from which on time is taken here.
    """

    def __init__(self, lag: float) -> None:
        self._lag = lag
        self._since: dict[str, float] = {}

    def look(self, view: View, changes: ChangeSet, now: float) -> Iterator[Complaint]:
        for change in changes.changes:
            node = change.current
            if not isinstance(node, Node):
                continue
            if change.new is None or node.status.state != "disconnected":
                since = self._since.pop(node.id, None)
                if change.new is not None and node.status.state == "down" and since is not None:
                    yield from self._lost(view, node, now - since)
            else:
                self._since.setdefault(node.id, now)

    def _lost(self, view: View, node: Node, waited: float) -> Iterator[Complaint]:
        if waited < GRACE - self._lag:
            text = f"{node.id} is down {waited:.1f} s after its agent said goodbye, not {GRACE:g} s"
            yield text, list(view.tasks.on_node(node.id))

    def overdue(self, running_since: float, now: float) -> Iterator[str]:
        for node_id, since in self._since.items():
            waited = now - max(since, running_since)
            if waited > GRACE + _PATIENCE:
                yield f"{node_id} said goodbye, is waited for since {waited:.1f} s, and is not down"

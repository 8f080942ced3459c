"""The managers in the store, and their addresses: kept up to date by a watch."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from common.model import Node
from manager.domain.managers import addresses, managers
from manager.store.store import Records
from manager.store.watch import Lagged


class KnownManagers:
    """`addresses` are all managers' (`host:port`), `own` the first of them; `nodes` their records.

    While `run` runs, both are as of the last changes.
    """

    def __init__(self, store: Records, own: str) -> None:
        self._store = store
        self.own = own
        self._moved = asyncio.Event()
        self.nodes: Sequence[Node] = ()
        self.addresses: tuple[str, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read the store; wake those who wait if something has changed."""
        nodes = managers(self._store.view)
        if nodes == self.nodes and self.addresses:
            return
        self.nodes, self.addresses = nodes, addresses(self._store.view, self.own)
        self._moved.set()
        self._moved = asyncio.Event()

    def moved(self) -> Coroutine[Any, Any, object]:
        """Wait until something has changed after this call."""
        return self._moved.wait()

    async def run(self) -> None:
        """Watch the store until cancelled."""
        with self._store.watch(kinds=(Node,)) as subscription:
            self.refresh()
            while True:
                try:
                    batch = await subscription.next()
                except Lagged:
                    self.refresh()
                    continue
                changed = (
                    each for change_set in batch for change in change_set.changes for each in (change.old, change.new)
                )
                if any(isinstance(each, Node) and each.manager_status is not None for each in changed):
                    self.refresh()

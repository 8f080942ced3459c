"""The level of the store rises when every manager has said over its link that it knows a newer one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from common.aio.first import first_of
from common.errors import Unavailable
from common.model import Node
from manager.dispatch.links import Links
from manager.dispatch.managers import KnownManagers
from manager.domain.managers import managers
from manager.store.levels import NEWEST_LEVEL, common_level
from manager.store.store import Store
from manager.store.transaction import Transaction

_AGAIN_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Rising:
    """Raises the level while this manager leads."""

    def __init__(self, store: Store, known: KnownManagers, links: Links, node_id: str) -> None:
        self._store = store
        self._known = known
        self._links = links
        self._node_id = node_id

    async def run(self) -> None:
        """Raise it whenever it can be, until the newest is reached."""
        while (level := self._store.view.cluster.store_level) < NEWEST_LEVEL:
            again = None
            if (common := self._common(self._known.nodes)) > level:
                try:
                    await self._store.update(self._raise)
                    _log.info("every manager knows level %d: the store is written in it from now on", common)
                    continue
                except Unavailable as error:
                    _log.warning("the level of the store cannot be raised yet: %s", error.message)
                    again = _AGAIN_SECONDS
            await first_of(self._known.moved(), self._links.moved(), within=again)

    def _common(self, nodes: Sequence[Node]) -> int:
        welcomes = [self._links.welcome_of(node.id) for node in nodes if node.id != self._node_id]
        return common_level((NEWEST_LEVEL, *(each.levels[1] if each is not None else None for each in welcomes)))

    def _raise(self, tx: Transaction) -> None:
        """Raise it to what all managers know, those included that have become one since that was looked at."""
        if (level := self._common(managers(tx))) > tx.cluster.store_level:
            tx.put(msgspec.structs.replace(tx.cluster, store_level=level))

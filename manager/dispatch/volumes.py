"""The named volumes of hosts: a session's reports, combined to whole lists, and stored."""

from __future__ import annotations

from collections.abc import Sequence

from common.wire.allowances import fitting, size_of
from common.wire.volume_copy import MOST_BYTES, MOST_VOLUMES, SeenVolume, VolumeReport
from manager.domain.volume_inventory import Inventory, decide
from manager.store.transaction import Transaction


class VolumeReports:
    """Combines the reports of one session."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._seen: list[SeenVolume] = []
        self._bytes = 0
        self._cut = False

    def take(self, report: VolumeReport) -> Inventory | None:
        """Add a report; return the whole list if this was its last part, else None."""
        taken = fitting(report.volumes[: MOST_VOLUMES - len(self._seen)], MOST_BYTES - self._bytes)
        self._seen += taken
        self._bytes += sum(map(size_of, taken))
        self._cut = self._cut or report.cut or len(report.volumes) > len(taken)
        if report.more:
            return None
        whole = Inventory(self._node_id, tuple(self._seen), self._cut)
        self._seen, self._bytes, self._cut = [], 0, False
        return whole


def apply_inventories(tx: Transaction, batch: Sequence[Inventory]) -> None:
    """Store what has changed; nodes that were removed meanwhile are skipped."""
    for inventory in batch:
        if inventory.node_id in tx.nodes:
            tx.apply(decide(inventory, tx, tx.now))

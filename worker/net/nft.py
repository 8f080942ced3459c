"""Bring the kernel's nftables table to what the plan says: `nft -f -`, one transaction a change."""

from __future__ import annotations

from collections import deque

from worker.net import command, ruleset
from worker.net.ruleset import Ruleset

_REMEMBERED_PROCESSES = 64


class NftTable:
    """Our table in the kernel. `lost` makes the next `apply` replace all of it."""

    def __init__(self) -> None:
        self._applied: Ruleset | None = None
        self._processes: deque[int] = deque(maxlen=_REMEMBERED_PROCESSES)

    def lost(self) -> None:
        """Take note that somebody else changed the table."""
        self._applied = None

    def changed_by_us(self, process: int) -> bool:
        """Whether a change comes from a process that was started here."""
        return process in self._processes

    async def apply(self, wanted: Ruleset | None) -> None:
        """Make the table what is wanted; None: there is none.

        Raises:
            Unavailable: nft refuses. The kernel has what it had.

        """
        if wanted is None:
            if self._applied is not None:
                await self.remove()
            return
        text = ruleset.whole(wanted) if self._applied is None else ruleset.difference(self._applied, wanted)
        self._applied, before = None, self._applied
        if text:
            await command.must("nft", "-f", "-", stdin=text, started=self._processes.append)
        elif before is None:
            return
        self._applied = wanted

    async def remove(self) -> None:
        """Remove the table. Repeatable."""
        self._applied = None
        await command.must("nft", "-f", "-", stdin=ruleset.removal(), started=self._processes.append)

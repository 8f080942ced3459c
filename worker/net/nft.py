"""Bring the kernel's nftables tables to what the plan says: `nft -f -`, one transaction a table and change."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection

from worker.net import command, ruleset
from worker.net.names import TABLE
from worker.net.ruleset import Ruleset

_REMEMBERED_PROCESSES = 64


class NftTables:
    """Our tables in the kernel, one a family. `lost` makes the next `apply` replace all of them."""

    def __init__(self) -> None:
        self._applied: dict[str, Ruleset] = {}
        self._processes: deque[int] = deque(maxlen=_REMEMBERED_PROCESSES)

    def lost(self) -> None:
        """Take note that somebody else changed a table."""
        self._applied.clear()

    def changed_by_us(self, process: int) -> bool:
        """Whether a change comes from a process that was started here."""
        return process in self._processes

    async def apply(self, wanted: Collection[Ruleset]) -> None:
        """Make the tables what is wanted, and remove those of before that are not.

        Raises:
            Unavailable: nft refuses one; the kernel has what it had of that, and all of the others. The first such.

        """
        for family in self._applied.keys() - {each.family for each in wanted}:
            await self._remove(family)
        # Side by side: most of the time is nft's own, and each reads its commands on a core of its own.
        for outcome in await asyncio.gather(*map(self._apply, wanted), return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def remove(self) -> None:
        """Remove all tables of ours, those of before a restart too. Repeatable.

        Raises:
            Unavailable: nft refuses.

        """
        self._applied.clear()
        for line in (await command.must("nft", "list", "tables")).splitlines():
            match line.split():
                case ["table", family, name] if name == TABLE:
                    await self._run(ruleset.removal(family))

    async def _apply(self, wanted: Ruleset) -> None:
        before = self._applied.pop(wanted.family, None)
        text = ruleset.whole(wanted) if before is None else ruleset.difference(before, wanted)
        if text:
            await self._run(text)
        self._applied[wanted.family] = wanted

    async def _remove(self, family: str) -> None:
        del self._applied[family]
        await self._run(ruleset.removal(family))

    async def _run(self, text: str) -> None:
        await command.must("nft", "-f", "-", stdin=text, started=self._processes.append)

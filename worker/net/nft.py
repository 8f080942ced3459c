"""Bring the kernel's nftables tables to what the plan says, one transaction a table and change.

What is a host's own is written in nft's words, for `nft -f -`; what services have is sent to the kernel as it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Collection

from worker import command
from worker.net import ruleset, servicetable, wayback
from worker.net.names import SERVICES_TABLE, TABLE
from worker.net.nfmessages import Message
from worker.net.nfsocket import NftSocket
from worker.net.nfttext import Nft
from worker.net.ruleset import Ruleset
from worker.net.servicetable import ServiceTable

_REMEMBERED_PROCESSES = 64
_FAMILIES = {family: Nft(family) for family in ("ip", "ip6", "bridge", "netdev")}
_TABLES = {name: Nft(name) for name in (TABLE, SERVICES_TABLE)}


class NftTables:
    """Our tables in the kernel, up to two a family. `lost` makes the next `apply` replace all of them."""

    def __init__(self) -> None:
        self._applied: dict[Nft, Ruleset] = {}
        self._services: dict[Nft, ServiceTable] = {}
        self._losses = 0
        self._kernel = NftSocket()
        self._processes: deque[int] = deque(maxlen=_REMEMBERED_PROCESSES)

    def lost(self) -> None:
        """Take note that somebody else changed a table; one that is being written too."""
        self._losses += 1
        self._applied.clear()
        self._services.clear()

    def links_lost(self) -> None:
        """Take note that the links of the way back may have been made anew, and its table has gone with them."""
        self._applied.pop(wayback.FAMILY, None)

    @property
    def process(self) -> int:
        """What the kernel's events call this process, for what it does itself."""
        return self._kernel.process

    def changed_by_us(self, process: int) -> bool:
        """Whether a change comes from a process that was started here."""
        return process in self._processes

    def close(self) -> None:
        """Leave the tables as they are."""
        self._kernel.close()

    async def apply(self, wanted: Collection[Ruleset], services: Collection[ServiceTable] = ()) -> None:
        """Make the tables what is wanted, and remove those of before that are not.

        Raises:
            Unavailable: one is refused; the kernel has what it had of that, and all of the others. The first such.

        """
        for family in self._applied.keys() - {each.family for each in wanted} - {wayback.FAMILY}:
            del self._applied[family]
            await self._run(ruleset.removal(family))
        for family in self._services.keys() - {each.family for each in services}:
            del self._services[family]
            await self._kernel.send(servicetable.removal(family))
        losses = self._losses
        # Side by side: most of the time is nft's own, and each reads its commands on a core of its own.
        texts = asyncio.gather(*(self._apply(each, losses) for each in wanted), return_exceptions=True)
        balancing = [self._apply_services(each, losses, texts) for each in services]
        for outcome in (*await asyncio.gather(*balancing, return_exceptions=True), *await texts):
            if outcome is not None:
                raise outcome

    async def apply_way_back(self, wanted: Ruleset | None) -> None:
        """Make the way back's table what is wanted. It names links, so it is written when these are there.

        Raises:
            Unavailable: it is refused.

        """
        if wanted is not None:
            await self._apply(wanted, self._losses)
        elif self._applied.pop(wayback.FAMILY, None) is not None:
            await self._run(ruleset.removal(wayback.FAMILY))

    async def remove(self) -> None:
        """Remove all tables of ours, those of before a restart too. Repeatable.

        Raises:
            Unavailable: nft refuses.

        """
        self.lost()
        for line in (await command.must("nft", "list", "tables")).splitlines():
            match line.split():
                case ["table", family, name] if family in _FAMILIES and name in _TABLES:
                    await self._run(ruleset.removal(_FAMILIES[family], _TABLES[name]))

    async def _apply(self, wanted: Ruleset, losses: int) -> None:
        before = self._applied.pop(wanted.family, None)
        text = ruleset.whole(wanted) if before is None else ruleset.difference(before, wanted)
        if text:
            await self._run(text)
        if losses == self._losses:
            self._applied[wanted.family] = wanted

    async def _apply_services(self, wanted: ServiceTable, losses: int, texts: Awaitable[object]) -> None:
        before = self._services.pop(wanted.family, None)
        commands = await asyncio.to_thread(_commands, before, wanted)
        # nft waits at its end until the kernel has freed what was replaced, and what services had takes it long.
        await texts
        if commands:
            await self._kernel.send(commands)
        if losses == self._losses:
            self._services[wanted.family] = wanted

    async def _run(self, text: Nft) -> None:
        await command.must("nft", "-f", "-", stdin=text, started=self._processes.append)


def _commands(before: ServiceTable | None, wanted: ServiceTable) -> list[Message]:
    return servicetable.whole(wanted) if before is None else servicetable.difference(before, wanted)

"""Bring the kernel's nftables tables to what the plan says, one transaction a table and change.

What is a host's own is written in nft's words, for `nft -f -`; what services have is sent to the kernel as it is.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Collection, Iterator, Sequence

from common.errors import Unavailable
from worker.host import command
from worker.net.plan import return_path, ruleset, service_table
from worker.net.plan.names import SERVICES_TABLE, TABLE
from worker.net.plan.nf_messages import Message, batch
from worker.net.plan.ruleset import Nft, Ruleset
from worker.net.plan.service_table import ServiceTable
from worker.net.watch.netlink_bytes import NETFILTER, messages

_REMEMBERED_PROCESSES = 64
_FAMILIES = {family: Nft(family) for family in ("ip", "ip6", "bridge", "netdev")}
_TABLES = {name: Nft(name) for name in (TABLE, SERVICES_TABLE)}

_SOL_NETLINK = 270
_SHORT_ANSWERS = 10
_SO_SNDBUFFORCE = 32
_ANSWERS = 1 << 16
_ERROR = 2
_CODE_AND_REQUEST = struct.Struct("=iIHHI")


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
        self._applied.pop(return_path.FAMILY, None)

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
        for family in self._applied.keys() - {each.family for each in wanted} - {return_path.FAMILY}:
            del self._applied[family]
            await self._run(ruleset.removal(family))
        for family in self._services.keys() - {each.family for each in services}:
            del self._services[family]
            await self._kernel.send(service_table.removal(family))
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
        elif self._applied.pop(return_path.FAMILY, None) is not None:
            await self._run(ruleset.removal(return_path.FAMILY))

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
    return service_table.whole(wanted) if before is None else service_table.difference(before, wanted)


# --- the socket: commands of one transaction at a time ---


class NftSocket:
    """A socket that stays open: closing one waits until the kernel has freed all that it replaced."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sending = threading.Lock()

    @property
    def process(self) -> int:
        """What the kernel's events call the process behind these changes.

        Raises:
            OSError: the kernel knows no nftables.

        """
        process: int = self._opened().getsockname()[0]
        return process

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def send(self, commands: Sequence[Message]) -> None:
        """Have all of it done, or nothing.

        Raises:
            Unavailable: the kernel refuses.

        """
        try:
            # The kernel works within the call, for as long as there is much to do.
            await asyncio.to_thread(self._send, self._opened(), commands)
        except OSError as error:
            raise Unavailable(f"the kernel takes no rules for services: {error.strerror}") from error

    def _opened(self) -> socket.socket:
        if self._socket is None:
            self._socket = _connect()
        return self._socket

    def _send(self, kernel: socket.socket, commands: Sequence[Message]) -> None:
        data = batch(commands)
        with self._sending:
            kernel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(data))
            kernel.send(data)
            answers = list(_answers(kernel))
        for code, place in answers:
            if code:
                what = f"command {place + 1} of {len(commands)}, of kind {commands[place].kind}"
                raise Unavailable(f"the kernel refuses the rules of services ({what}): {os.strerror(code)}")
        if not answers:
            raise Unavailable("the kernel did not confirm the rules of services")


def _connect() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
    kernel.bind((0, 0))
    kernel.setsockopt(_SOL_NETLINK, _SHORT_ANSWERS, 1)
    return kernel


def _answers(kernel: socket.socket) -> Iterator[tuple[int, int]]:
    """Yield what was answered: an error's number, or 0, and the place of the command. It is all there by now."""
    while True:
        try:
            data = kernel.recv(_ANSWERS, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # more refusals than there was room for: the first ones are there
                raise
            continue
        for message in messages(data):
            if message.kind == _ERROR:
                code, _, _, _, place = _CODE_AND_REQUEST.unpack_from(message.body)
                yield -code, place

"""Finding the leader: all known managers are dialled, a little apart, and the first that welcomes is taken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.errors import PermissionDenied, SwarmError, Unavailable
from common.wire.channel import Channel
from common.wire.handshake import LedElsewhere
from common.wire.manager_messages import WireEpoch
from common.wire.messages import Welcome

# A manager that is there answers within this; the next is not kept waiting for one whose host is gone.
STAGGER_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Welcomed:
    """A session, and the manager (`host:port`) that it is with."""

    address: str
    channel: Channel
    welcome: Welcome


class NoWelcome(Unavailable):
    """No manager has welcomed this worker: why not, by address."""

    def __init__(self, errors: Mapping[str, SwarmError]) -> None:
        super().__init__("; ".join(f"{address}: {error.message}" for address, error in errors.items()))
        self.errors = errors

    @property
    def removal(self) -> PermissionDenied | None:
        """The leader's word that this node is one no more, if it has said so."""
        return next((error for error in self.errors.values() if isinstance(error, PermissionDenied)), None)

    @property
    def between_leaders(self) -> bool:
        """Whether managers are there, and none of them leads just now."""
        return any(isinstance(error, LedElsewhere) for error in self.errors.values())


async def first_welcome(
    addresses: Sequence[str], dial: Callable[[str], Awaitable[tuple[Channel, Welcome]]], least: WireEpoch
) -> Welcomed:
    """Dial managers in this order until one welcomes; a leader that one of them names is dialled next.

    `least`: the leadership that was last believed; one of before is not, whoever has it.

    Raises:
        NoWelcome: none did.

    """
    waiting = deque(dict.fromkeys(addresses))
    dialled: dict[asyncio.Future[tuple[Channel, Welcome]], str] = {}
    errors: dict[str, SwarmError] = {}
    try:
        while waiting or dialled:
            if waiting:
                address = waiting.popleft()
                dialled[asyncio.ensure_future(dial(address))] = address
            apart = STAGGER_SECONDS if waiting else None
            done, _ = await asyncio.wait(dialled, timeout=apart, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                address = dialled.pop(each)
                try:
                    channel, welcome = each.result()
                except SwarmError as error:
                    errors[address] = error
                    if isinstance(error, LedElsewhere) and _is_new(error.told.leader, errors, dialled.values()):
                        _put_first(waiting, error.told.leader)
                    continue
                if welcome.epoch >= least:
                    return Welcomed(address, channel, welcome)
                await channel.close()
                errors[address] = Unavailable(
                    f"it no longer leads: its epoch is {welcome.epoch}, and that of {least} has begun"
                )
        raise NoWelcome(errors)
    finally:
        await _give_up(dialled)


def _is_new(leader: str, errors: Mapping[str, SwarmError], dialled: Iterable[str]) -> bool:
    return bool(leader) and leader not in errors and leader not in dialled


def _put_first(waiting: deque[str], address: str) -> None:
    if address in waiting:
        waiting.remove(address)
    waiting.appendleft(address)


async def _give_up(dialled: Mapping[asyncio.Future[tuple[Channel, Welcome]], str]) -> None:
    """Cancel what is under way; a session that was opened all the same is closed."""
    for each in dialled:
        each.cancel()
    for outcome in await asyncio.gather(*dialled, return_exceptions=True):
        if isinstance(outcome, tuple):
            await outcome[0].close()

"""Finding the leader: all known managers are dialled, shortly after one another, and the first welcome wins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from common.aio.first import Success, first_success
from common.errors import PermissionDenied, SwarmError, Unavailable
from common.wire.channel import Channel
from common.wire.handshake import LedElsewhere
from common.wire.manager_messages import WireEpoch
from common.wire.messages import Welcome


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

    `least`: the latest leadership that has welcomed this worker; an earlier one is not accepted any more.

    Raises:
        NoWelcome: none did.

    """

    async def welcomed(address: str) -> tuple[Channel, Welcome]:
        channel, welcome = await dial(address)
        if welcome.epoch < least:
            await channel.close()
            raise Unavailable(f"it no longer leads: its epoch is {welcome.epoch}, and that of {least} has begun")
        return channel, welcome

    found = await first_success(addresses, welcomed, give_back=_close, named_by=_leader)
    if not isinstance(found, Success):
        raise NoWelcome(found)
    return Welcomed(found.candidate, *found.result)


async def _close(session: tuple[Channel, Welcome]) -> None:
    await session[0].close()


def _leader(error: SwarmError) -> str | None:
    """Return the leader that a manager without a session has named."""
    return error.told.leader or None if isinstance(error, LedElsewhere) else None

"""Every connection on the cluster's port, from its first frame on: whose it is, and who serves it.

It lives as long as the daemon. What only a leader can serve goes to the present `Lead`; without one it is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol, TypeAlias

from common.clock import Clock
from common.errors import FailedPrecondition, ProtocolError, SwarmError, Unavailable
from common.tls import Identity
from common.wire.admission import Admission
from common.wire.channel import Channel, ChannelClosed, PeerInfo
from common.wire.handshake import LedElsewhere, Opening, OtherProtocol, admit, identity_of, is_manager, refusal
from common.wire.image_messages import RelayHello
from common.wire.manager_messages import Elsewhere, Forwarded, Link, ManagerJoin
from common.wire.membership_messages import Unfit, Withdraw
from common.wire.messages import (
    PROTOCOL_VERSION,
    AnyMessage,
    Hello,
    JoinRequest,
    LeaveAck,
    Refused,
    RootReply,
    RootRequest,
    StreamHello,
)
from manager.ca.authority import Authority
from manager.dispatch.pending_connections import PendingConnections

FIRST_FRAME_TIMEOUT = 10.0

# What workers open connections with.
WorkersOpening: TypeAlias = JoinRequest | Hello | StreamHello | RelayHello | Withdraw | Unfit

_log = logging.getLogger(__name__)


class Lead(Protocol):
    """What serves workers while this manager leads: the dispatcher."""

    async def serve(
        self, channel: Channel, opening: WorkersOpening, request_id: int, settle: Callable[[], None]
    ) -> None:
        """Serve a connection to its end; call `settle` when it has served a purpose (a session began, …).

        Raises:
            SwarmError: why it ended.

        """

    async def note_refusal(self, peer: PeerInfo, error: OtherProtocol) -> None:
        """Let the record of a node say why it gets no session."""


class OtherManagers(Protocol):
    """The other managers, where there are any."""

    def elsewhere(self) -> Elsewhere | None:
        """Say who leads; None: this manager does."""

    async def link(self, channel: Channel, opening: Link, request_id: int, settle: Callable[[], None]) -> None:
        """Serve another manager's link to its end; errors as `Lead.serve`."""

    async def take_request(self, channel: Channel, opening: Forwarded, settle: Callable[[], None]) -> None:
        """Take a connection that carries a client's request; errors as `Lead.serve`."""

    async def withdraw(self, identity: Identity) -> Elsewhere | LeaveAck:
        """Take back the join of a manager, or say who leads; errors as `Lead.serve`."""

    async def join(self, request: JoinRequest | ManagerJoin, source: str, *, same_host: bool) -> AnyMessage:
        """Have a host join that dialled from the address `source`, or is this one; errors as `Lead.serve`."""


class Reception:
    """Takes connections: `handle` is the handler of each. `lead` returns what serves workers, None while following.

    `others` are the other managers, None in a cluster whose store is the file of its one manager.
    """

    def __init__(
        self, authority: Authority, clock: Clock, lead: Callable[[], Lead | None], others: OtherManagers | None = None
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._lead = lead
        self._others = others
        self.admission = Admission()
        self._pending = PendingConnections(self.admission)

    async def handle(self, channel: Channel) -> None:
        """Serve one connection to its end. Whoever is refused is told why.

        Raises:
            SwarmError: why the connection ended, for the log; a connection that its peer ended is not an error.

        """
        try:
            with self._pending.track(channel.peer) as pending:
                opening, request_id = await self._opening(channel)
                await self._serve(channel, opening, request_id, pending.settle)
        except ChannelClosed as closed:
            _log.debug("connection of %s: %s", channel.peer, closed.message)
        except SwarmError as error:
            with contextlib.suppress(ChannelClosed, ProtocolError):
                await channel.send(refusal(error))
            raise
        finally:
            await channel.close()  # a stream that was taken is no longer the channel's to close

    async def _opening(self, channel: Channel) -> tuple[Opening, int]:
        try:
            async with asyncio.timeout(FIRST_FRAME_TIMEOUT):
                request_id, first = await channel.receive()
        except TimeoutError as error:
            raise ProtocolError(f"{channel.peer} said nothing for {FIRST_FRAME_TIMEOUT:g} s") from error
        try:
            return admit(first, channel.peer, self._authority.cluster_id), request_id
        except OtherProtocol as error:
            if (lead := self._lead()) is not None:
                await lead.note_refusal(channel.peer, error)
            raise

    async def _serve(self, channel: Channel, opening: Opening, request_id: int, settle: Callable[[], None]) -> None:
        match opening:
            case RootRequest():
                reply = RootReply(root_certificate=self._authority.root_certificate, clock=self._clock.now())
                await channel.send(reply, request_id)
                settle()
            case Link() | Forwarded() | ManagerJoin():
                await self._serve_manager(channel, opening, request_id, settle)
            case Withdraw() if is_manager(channel.peer):
                await self._serve_manager(channel, opening, request_id, settle)
            case _:
                await self._serve_worker(channel, opening, request_id, settle)

    async def _serve_manager(
        self,
        channel: Channel,
        opening: Link | Forwarded | ManagerJoin | Withdraw,
        request_id: int,
        settle: Callable[[], None],
    ) -> None:
        others = self._others
        if others is None:
            raise FailedPrecondition(
                "this cluster has one manager, whose store is a file: 'swarm-manager convert --to etcd' on its host "
                "makes room for others"
            )
        match opening:
            case Link():
                await others.link(channel, opening, request_id, settle)
            case Forwarded():
                await others.take_request(channel, opening, settle)
            case ManagerJoin():
                await self._join(others, channel, opening, request_id)
                settle()
            case Withdraw():
                await channel.send(await others.withdraw(identity_of(channel.peer)), request_id)
                settle()

    async def _serve_worker(
        self, channel: Channel, opening: WorkersOpening, request_id: int, settle: Callable[[], None]
    ) -> None:
        lead = self._lead()
        if lead is not None:
            await lead.serve(channel, opening, request_id, settle)
            return
        if self._others is None:
            raise Unavailable("this manager is starting or stopping: try again")
        if isinstance(opening, JoinRequest):
            await self._join(self._others, channel, opening, request_id)
        else:
            await channel.send(self._refer(self._others, opening), request_id)
        settle()

    @staticmethod
    async def _join(
        others: OtherManagers, channel: Channel, opening: JoinRequest | ManagerJoin, request_id: int
    ) -> None:
        peer = channel.peer
        await channel.send(await others.join(opening, peer.remote_address, same_host=is_same_host(peer)), request_id)

    @staticmethod
    def _refer(others: OtherManagers, opening: WorkersOpening) -> Elsewhere | Refused:
        """Say who leads, to a worker of the release before in words: it tries the next manager then."""
        told = others.elsewhere() or Elsewhere()
        if isinstance(opening, Hello) and opening.protocol < PROTOCOL_VERSION:
            return refusal(LedElsewhere(told))
        return told


def is_same_host(peer: PeerInfo) -> bool:
    """Whether the peer's address is one of this host: a connection to oneself has the same address at both ends."""
    return bool(peer.remote_address) and peer.remote_address == peer.local_address

"""Every connection on the cluster's port, from its first frame on: whose it is, and who serves it.

It lives as long as the daemon. What takes a leader goes to the `Lead` of now; without one it is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol, TypeAlias

from common.clock import Clock
from common.errors import ProtocolError, SwarmError, Unavailable
from common.wire.admission import Admission
from common.wire.channel import Channel, ChannelClosed, PeerInfo
from common.wire.handshake import Opening, OtherProtocol, admit, refusal
from common.wire.image_messages import RelayHello
from common.wire.membership_messages import Unfit, Withdraw
from common.wire.messages import Hello, JoinRequest, RootReply, RootRequest, StreamHello
from manager.ca.authority import Authority
from manager.dispatch.quota import Visitors

FIRST_FRAME_TIMEOUT = 10.0

# What workers open connections with.
WorkersOpening: TypeAlias = JoinRequest | Hello | StreamHello | RelayHello | Withdraw | Unfit

_log = logging.getLogger(__name__)


class Lead(Protocol):
    """What serves workers while this manager leads: the dispatcher."""

    async def serve(
        self, channel: Channel, opening: WorkersOpening, request_id: int, settle: Callable[[], None]
    ) -> None:
        """Serve a connection to its end; `settle` it when it has come to something.

        Raises:
            SwarmError: why it ended.

        """

    async def note_refusal(self, peer: PeerInfo, error: OtherProtocol) -> None:
        """Let the record of a node say why it gets no session."""


class Reception:
    """Takes connections: `handle` is the handler of each. `lead` returns what serves workers, None: nothing here."""

    def __init__(self, authority: Authority, clock: Clock, lead: Callable[[], Lead | None]) -> None:
        self._authority = authority
        self._clock = clock
        self._lead = lead
        self.admission = Admission()
        self._visitors = Visitors(self.admission)

    async def handle(self, channel: Channel) -> None:
        """Serve one connection to its end. Whoever is refused is told why.

        Raises:
            SwarmError: why the connection ended, for the log; a connection that its peer ended is not an error.

        """
        try:
            with self._visitors.visit(channel.peer) as visit:
                opening, request_id = await self._opening(channel)
                await self._serve(channel, opening, request_id, visit.settle)
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
            case _:
                lead = self._lead()
                if lead is None:
                    raise Unavailable("this manager is starting or stopping: try again")
                await lead.serve(channel, opening, request_id, settle)

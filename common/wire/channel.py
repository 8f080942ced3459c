"""What both ends see of a connection, whatever carries it: TLS in production, memory in tests and the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from common.errors import Unavailable
from common.tls import Identity
from common.wire.codec import Frame
from common.wire.messages import AnyMessage


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Who is at the other end: its verified certificate's identity (None without one), and both addresses, portless."""

    identity: Identity | None = None
    remote_address: str = ""
    local_address: str = ""

    def __str__(self) -> str:
        who = f"{self.identity.role} {self.identity.node_id}" if self.identity else "a client without certificate"
        return f"{who} at {self.remote_address or 'an unknown address'}"


class ChannelClosed(Unavailable):
    """The connection is gone; the message says why, as far as this end knows."""


class Channel(Protocol):
    """A connection that carries messages, in order."""

    @property
    def peer(self) -> PeerInfo: ...

    @property
    def last_received(self) -> float:
        """The loop's time at which the peer last gave a sign of life; now, while this end holds back its reading."""

    @property
    def bytes_received(self) -> int:
        """The size of all frames that `receive` has taken so far."""

    async def send(self, message: AnyMessage, request_id: int = 0) -> None:
        """Queue a message; waits while the peer is slower than this end.

        Raises:
            ChannelClosed: the connection is gone, or the peer has not read for too long.
            ProtocolError: the message is too large for a frame.

        """

    async def receive(self) -> Frame:
        """Wait for the next message. One reader at a time.

        Raises:
            ChannelClosed: the connection is gone and everything before that was received.
            ProtocolError: the peer broke the protocol. Nothing more is received; it may be told why, by whoever closes.

        """

    async def close(self, reason: str = "") -> None:
        """Send what is queued and end the connection; waits a few seconds at most. Repeating it is harmless."""

    def expect(self, sizes: Mapping[int, int]) -> None:
        """From now on accept these kinds of message alone, and of each only frames of so many bytes.

        Before, what a frame may have is bounded for all kinds alike: a stranger's first one may only be small.
        """

    def detach(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """After a `StreamHello`: give the bare connection to `protocol`, with the bytes that already came.

        `protocol.connection_made` is called, then the channel is no more; the caller owns the transport.

        Raises:
            ChannelClosed: the connection is gone.

        """


def open_raw(channel: Channel) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Detach a channel into asyncio's reader and writer.

    Raises:
        ChannelClosed: the connection is gone.

    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = channel.detach(protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

"""The interface of a connection for both ends, whatever carries it: TLS in production, memory in the simulation.

And two of them joined: bytes carried both ways (`splice`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from common.errors import Unavailable
from common.tls import Identity
from common.wire.codec import Frame
from common.wire.messages import AnyMessage

CHUNK = 64 * 1024
_CLOSE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Who is at the other end: its verified certificate's identity (None without one), and both addresses, portless."""

    identity: Identity | None = None
    remote_address: str = ""
    local_address: str = ""

    def __str__(self) -> str:
        speaker = f"{self.identity.role} {self.identity.node_id}" if self.identity else "a client without a certificate"
        return f"{speaker} at {self.remote_address or 'an unknown address'}"


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


async def splice(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    hear: Callable[[bytes], Awaitable[None]] | None = None,
) -> None:
    """Carry bytes both ways until both ends have said all, or one breaks; then close both. `hear` is as for `carry`.

    An end that is done writing (half-close) is passed on where the other's transport can say that; TLS cannot, so there
    it closes the connection.
    """
    ways = [asyncio.ensure_future(carry(one[0], other[1], hear)) for one, other in ((near, far), (far, near))]
    try:
        # An end that breaks (OSError) is told to the other by closing it, below: there is no other way.
        await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (near, far):
            writer.close()
        for _, writer in (near, far):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await writer.wait_closed()


async def carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hear: Callable[[bytes], Awaitable[None]] | None = None
) -> None:
    """Carry bytes one way until they end, and say there that they have. `hear` is awaited for bytes before they go."""
    while data := await reader.read(CHUNK):
        if hear is not None:
            await hear(data)
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()

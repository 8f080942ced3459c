"""What an evil worker speaks over: a connection to the manager on which any bytes may be sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, Self

from common.tls import MANAGER_NAME
from common.wire.channel import ChannelClosed, PeerInfo, open_raw
from common.wire.codec import Frame, read
from common.wire.frames import FrameDecoder
from common.wire.memory import MemoryChannel

READ_BYTES = 256 * 1024


class Line(Protocol):
    """One connection. `receive` raises ChannelClosed when it is over, as `send` may."""

    async def send(self, frame: bytes) -> None:
        """Send bytes: a frame, several, or none at all."""

    async def receive(self) -> Frame: ...

    def bare(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Use it without frames from now on, as after a `StreamHello`."""

    async def close(self) -> None: ...


# Opens another connection to the manager, as the same node.
Dial = Callable[[], Awaitable[Line]]


class TlsLine:
    """A connection over TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = FrameDecoder()

    @classmethod
    async def dial(
        cls,
        address: str,
        port: int,
        context: ssl.SSLContext,
        sock: socket.socket | None = None,
        server_name: str = MANAGER_NAME,
    ) -> Self:
        """Connect; `sock` is a connected socket, where it is not to be one of this process's own network."""
        where = {"sock": sock} if sock is not None else {"host": address, "port": port}
        reader, writer = await asyncio.open_connection(**where, ssl=context, server_hostname=server_name)
        return cls(reader, writer)

    async def send(self, frame: bytes) -> None:
        try:
            self._writer.write(frame)
            await self._writer.drain()
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    async def receive(self) -> Frame:
        while (sealed := self._decoder.next()) is None:
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            if not data:
                raise ChannelClosed("the manager closed the connection")
            self._decoder.feed(data)
        return read(sealed)

    def bare(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return self._reader, self._writer

    async def close(self) -> None:
        self._writer.transport.abort()


class SocketedChannel(MemoryChannel):
    """A channel in memory that can become a bare connection: a pair of sockets in its place."""

    def __init__(self, peer: PeerInfo, latency: float) -> None:
        super().__init__(peer, latency)
        # This end's socket, from when either end was made bare until this one is, or is closed.
        self._half: socket.socket | None = None
        self._bare = False

    def detach(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        if self._failure is not None:
            raise self._failure
        far = self._other
        assert isinstance(far, SocketedChannel), "made by `socketed_pair`"
        if self._half is None:
            self._half, far._half = socket.socketpair()
        half, self._half, self._bare = self._half, None, True
        half.setblocking(False)
        # The transport calls `connection_made` in the loop's next turn; a channel's contract is that it was called.
        transport: asyncio.Transport = self._loop._make_socket_transport(half, asyncio.Protocol())  # type: ignore[attr-defined]
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return transport

    async def close(self, reason: str = "") -> None:
        if self._bare:
            return
        if self._half is None:
            await super().close(reason)
            return
        # The far end is bare already, and hears of the end as it would of a connection's.
        self._half.close()
        self._end(reason or "this end closed the connection")


def socketed_pair(client: PeerInfo, latency: float = 0.0) -> tuple[SocketedChannel, SocketedChannel]:
    """Make a connection as (the client's end, the manager's end); `client` is who the manager sees."""
    near, far = SocketedChannel(PeerInfo(), latency), SocketedChannel(client, latency)
    near.connect(far)
    far.connect(near)
    return near, far


class MemoryLine:
    """The client's end of a connection in memory. What is sent at once is one frame to the other end."""

    def __init__(self, channel: SocketedChannel) -> None:
        self._channel = channel

    async def send(self, frame: bytes) -> None:
        channel, far = self._channel, self._channel._other
        assert far is not None, "made by `socketed_pair`"
        while channel._failure is None and not far._room.is_set():
            await far._room.wait()
        if channel._failure is not None:
            raise channel._failure
        channel._post(far, partial(far._arrive, frame))

    async def receive(self) -> Frame:
        return await self._channel.receive()

    def bare(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return open_raw(self._channel)

    async def close(self) -> None:
        await self._channel.close()

"""Channels in memory: the same contract without sockets, for tests and the simulation in virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from common.errors import ProtocolError
from common.wire.channel import ChannelClosed, PeerInfo
from common.wire.codec import Frame, encode, open_frame, read
from common.wire.messages import AnyMessage

INBOX_FRAMES = 1024


class MemoryChannel:
    """One end of a pair. Every message goes through the codec, so that what TLS would refuse is refused here too.

    With a latency, a message arrives that many seconds of loop time after it was sent; order is kept.
    """

    def __init__(self, peer: PeerInfo, latency: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._other: MemoryChannel | None = None
        self._latency = latency
        self._inbox: deque[bytes] = deque()
        # What is on the way here, in order: timers that are due in one instant may come in any.
        self._coming: deque[Callable[[], None]] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._failure: ChannelClosed | None = None
        self._broken = ""
        self._heard_at = self._loop.time()
        self._sizes: Mapping[int, int] | None = None
        self._transport: MemoryTransport | None = None
        # What came as bytes before this end was detached.
        self._early: list[Callable[[MemoryTransport], None]] = []
        self.bytes_received = 0
        self.peer = peer

    @property
    def last_received(self) -> float:
        held_back = self._failure is None and not self._room.is_set()
        return self._loop.time() if held_back else self._heard_at

    async def send(self, message: AnyMessage, request_id: int = 0) -> None:
        frame = encode(message, request_id)
        other = self._other
        while self._failure is None and other is not None and not other._room.is_set():  # noqa: SLF001 - its pair
            await other._room.wait()  # noqa: SLF001
        if self._failure is not None or other is None:
            raise self._failure or ChannelClosed("the channel was never connected")
        self._post(other, partial(other._arrive, frame))  # noqa: SLF001

    async def receive(self) -> Frame:
        while not self._inbox:
            if self._broken:
                raise ProtocolError(self._broken)
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._changed.wait()
        raw = self._inbox.popleft()
        if len(self._inbox) < INBOX_FRAMES and not self._room.is_set():
            self._room.set()
            self._heard_at = self._loop.time()  # while it was held back, it could not be heard
        self.bytes_received += len(raw)
        try:
            return read(open_frame(raw), self._sizes)
        except ProtocolError as error:
            self._broken = error.message
            self._inbox.clear()
            raise

    async def close(self, reason: str = "") -> None:
        """End both ends; what was sent before still arrives."""
        if self._transport is not None:
            return
        self._end(reason or "this end closed the connection")
        if self._other is not None:
            why = reason or "the peer closed the connection"
            self._post(self._other, partial(self._other._end, why))  # noqa: SLF001

    def drop(self, reason: str = "the connection broke") -> None:
        """Break both ends at once; what is on the way or unread is lost."""
        for end in (self, self._other):
            if end is not None:
                end._end(reason)  # noqa: SLF001
                end._inbox.clear()  # noqa: SLF001
                if end._transport is not None:  # noqa: SLF001
                    end._transport.lose(ConnectionResetError(reason))  # noqa: SLF001

    def expect(self, sizes: Mapping[int, int]) -> None:
        self._sizes = sizes

    def detach(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        if self._failure is not None:
            raise self._failure
        transport = self._transport = MemoryTransport(self, protocol)
        protocol.connection_made(transport)
        early, self._early = self._early, []
        for each in early:
            each(transport)
        return transport

    def pass_on(self, what: Callable[[MemoryTransport], None]) -> None:
        """Let something happen at the far end's transport, after what was sent before."""
        if self._other is not None:
            self._post(self._other, partial(self._other._hear, what))  # noqa: SLF001

    def _hear(self, what: Callable[[MemoryTransport], None]) -> None:
        if self._transport is None:
            self._early.append(what)
        else:
            what(self._transport)

    def connect(self, other: MemoryChannel) -> None:
        """Make `other` the far end of this one."""
        self._other = other

    def _post(self, other: MemoryChannel, what: Callable[[], None]) -> None:
        """Let something happen at the other end, after what was posted before."""
        if not self._latency:
            what()
            return
        other._coming.append(what)
        self._loop.call_later(self._latency, other._come)

    def _come(self) -> None:
        """Let happen what was posted first."""
        self._coming.popleft()()

    def _arrive(self, frame: bytes) -> None:
        if self._failure is not None or self._broken:
            return
        self._heard_at = self._loop.time()
        self._inbox.append(frame)
        if len(self._inbox) >= INBOX_FRAMES:
            self._room.clear()
        self._changed.set()

    def _end(self, reason: str) -> None:
        if self._failure is None:
            self._failure = ChannelClosed(reason)
        self._changed.set()
        self._room.set()


class MemoryTransport(asyncio.Transport):
    """One end of a channel that carries bytes by now. What is written is never held back."""

    def __init__(self, channel: MemoryChannel, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._protocol = protocol
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._closing:
            self._channel.pass_on(partial(MemoryTransport.feed, data=bytes(data)))

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing:
            self._channel.pass_on(MemoryTransport.feed_eof)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._channel.pass_on(MemoryTransport.lose)
            self.lose()

    def abort(self) -> None:
        self.close()

    # --- what the far end does ---

    def feed(self, data: bytes) -> None:
        """Take bytes that have come."""
        if not self._closing:
            self._protocol.data_received(data)

    def feed_eof(self) -> None:
        """Hear that no more bytes will come."""
        if not self._closing and not self._protocol.eof_received():
            self.close()

    def lose(self, why: Exception | None = None) -> None:
        """Be closed by the far end, or by what has broken the connection."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, why)


def memory_channel_pair(client: PeerInfo | None = None, *, latency: float = 0.0) -> tuple[MemoryChannel, MemoryChannel]:
    """Make a connection as (the client's end, the server's end).

    `client` is who the client is, as the server sees it in `peer`.
    """
    near = MemoryChannel(PeerInfo(), latency)
    far = MemoryChannel(client or PeerInfo(), latency)
    near.connect(far)
    far.connect(near)
    return near, far

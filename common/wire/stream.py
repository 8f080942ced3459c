"""Channels over TLS: the asyncio shell around the frame decoder.

Writes are coalesced. The first after a quiet time leaves in the same turn of the loop, together with all that is sent
in that turn; then at most one write every 10 ms, or one a 64 KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

from common.errors import ProtocolError
from common.tls import identity_of_der
from common.wire.channel import ChannelClosed, PeerInfo
from common.wire.codec import Frame, SealedFrame, encode, read
from common.wire.frames import ChunkTransport, FrameDecoder
from common.wire.manager_messages import Forwarded, Taken
from common.wire.messages import MAX_FRAME_BYTES, AnyMessage, StreamHello

FLUSH_SECONDS = 0.010
FLUSH_BYTES = 64 * 1024
WRITE_HIGH_WATER = 256 * 1024
SEND_TIMEOUT = 10.0
CLOSE_TIMEOUT = 3.0
# So much waits for its reader, then the peer is held back.
INBOX_FRAMES = 64
INBOX_BYTES = 256 * 1024

_log = logging.getLogger(__name__)


class StreamChannel(asyncio.Protocol):
    """A `Channel` over one connection. `opened` is called once, when the handshake is done."""

    __slots__ = (
        "_broken",
        "_closed",
        "_decoder",
        "_failure",
        "_finished",
        "_flush_handle",
        "_flushed_at",
        "_heard_at",
        "_inbox",
        "_inbox_bytes",
        "_loop",
        "_opened",
        "_outbox",
        "_outbox_bytes",
        "_paused",
        "_reader",
        "_sizes",
        "_transport",
        "_writable",
        "bytes_received",
        "half_close",
        "peer",
    )

    def __init__(self, opened: Callable[[StreamChannel], None], limit: int = MAX_FRAME_BYTES) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened = opened
        self._decoder = FrameDecoder(limit)
        self._transport: asyncio.Transport | None = None
        self._inbox: deque[SealedFrame] = deque()
        self._inbox_bytes = 0
        self._sizes: Mapping[int, int] | None = None
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._flush_handle: asyncio.Handle | None = None
        self._flushed_at = 0.0
        self._heard_at = self._loop.time()
        self._paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._failure: str | None = None
        self._broken = ""
        self._closed: asyncio.Future[None] = self._loop.create_future()
        # Of a stream whose peer has said all and closed it before anybody here took it over.
        self._finished: asyncio.Transport | None = None
        self.peer = PeerInfo()
        self.bytes_received = 0
        # Whether the stream that this becomes can be closed one way: its hello says so.
        self.half_close = False

    # --- what a Channel does ------------------------------------------------------------------------------------------

    @property
    def last_received(self) -> float:
        held_back = self._paused and self._transport is not None
        return self._loop.time() if held_back else self._heard_at

    async def send(self, message: AnyMessage, request_id: int = 0) -> None:
        frame = encode(message, request_id)
        if self._writable is not None:
            await self._wait_writable()
        self._raise_failure()
        self._outbox.append(frame)
        self._outbox_bytes += len(frame)
        self._schedule_flush()

    async def receive(self) -> Frame:
        while not self._inbox:
            if self._broken:
                raise ProtocolError(self._broken)
            self._raise_failure()
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        sealed = self._inbox.popleft()
        self._inbox_bytes -= sealed.size
        self.bytes_received += sealed.size
        if self._paused and not self._fuller_than(INBOX_FRAMES // 2, INBOX_BYTES // 2):
            self._fill_inbox()
        try:
            frame = read(sealed, self._sizes)
        except ProtocolError as error:
            self._inbox.clear()
            self._refuse(error)
            raise
        if isinstance(frame.message, StreamHello):
            self.half_close = frame.message.half_close
        elif isinstance(frame.message, Forwarded | Taken):
            self.half_close = True
        return frame

    async def close(self, reason: str = "") -> None:
        transport = self._transport
        if transport is None:
            return
        self._flush()
        self._fail(reason or "this end closed the connection")
        transport.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.shield(self._closed)
        except TimeoutError:
            transport.abort()

    def expect(self, sizes: Mapping[int, int]) -> None:
        self._sizes = sizes
        self._decoder.limit = max(sizes.values())

    def detach(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        transport, finished = self._transport or self._finished, self._finished is not None
        if not finished:
            self._raise_failure()
        if transport is None:
            raise ChannelClosed("the connection is not open")
        self._flush()
        self._transport = self._finished = None
        lower, receiver = transport, protocol
        if self.half_close:
            transport = receiver = ChunkTransport(lower, protocol)
        if not finished:
            lower.set_protocol(receiver)
        protocol.connection_made(transport)
        if self._paused and not finished:  # before the rest, which may be all that the receiver wants for now
            transport.resume_reading()
        rest = self._decoder.take_rest()
        if rest:
            receiver.data_received(rest)
        if finished:
            self._loop.call_soon(receiver.connection_lost, None)
        return transport

    # --- what asyncio calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.peer = _peer_info(transport)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        self._heard_at = self._loop.time()
        self._decoder.feed(data)
        self._fill_inbox()
        self._wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._decoder.ended and self._failure is None:
            self._finished = self._transport
        self._fail(_why_lost(self.peer, exc))
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        self._wake(writable)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _fill_inbox(self) -> None:
        """Cut frames off what has come until enough of them wait; then, hold back the peer."""
        try:
            while not self._fuller_than(INBOX_FRAMES, INBOX_BYTES) and (sealed := self._decoder.next()) is not None:
                self._inbox.append(sealed)
                self._inbox_bytes += sealed.size
        except ProtocolError as error:
            self._refuse(error)
            return
        hold = self._decoder.ended or self._fuller_than(INBOX_FRAMES, INBOX_BYTES)
        if hold != self._paused:
            self._hold_reading(hold=hold)

    def _fuller_than(self, frames: int, size: int) -> bool:
        return len(self._inbox) >= frames or self._inbox_bytes >= size

    def _refuse(self, error: ProtocolError) -> None:
        """Read nothing more. The reader hears of it, may say so to the peer, and closes the connection."""
        _log.warning("protocol error from %s: %s; its connection is ended", self.peer, error.message)
        self._broken = error.message
        self._hold_reading(hold=True)

    def abort(self) -> None:
        """End the connection now; what is queued is lost."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, message: str) -> None:
        """Note why the connection ended; the first reason counts. Kept as words: exceptions keep tracebacks alive."""
        if self._failure is None:
            self._failure = message
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        self._outbox.clear()
        self._wake(self._reader)
        self.resume_writing()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise ChannelClosed(self._failure)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _hold_reading(self, *, hold: bool) -> None:
        self._paused = hold
        self._heard_at = self._loop.time()  # while it was held back, it could not be heard
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.pause_reading if hold else self._transport.resume_reading)()

    async def _wait_writable(self) -> None:
        writable = self._writable
        assert writable is not None
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await asyncio.shield(writable)
        except TimeoutError:
            self._fail(f"{self.peer} has read nothing for {SEND_TIMEOUT:g} s")
            self.abort()

    def _schedule_flush(self) -> None:
        if self._outbox_bytes >= FLUSH_BYTES:
            self._flush()
        elif self._flush_handle is None:
            wait = self._flushed_at + FLUSH_SECONDS - self._loop.time()
            if wait <= 0:
                self._flush_handle = self._loop.call_soon(self._flush)
            else:
                self._flush_handle = self._loop.call_later(wait, self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if self._transport is None or not self._outbox:
            return
        data = b"".join(self._outbox)
        self._outbox.clear()
        self._outbox_bytes = 0
        self._flushed_at = self._loop.time()
        self._transport.write(data)


def _peer_info(transport: asyncio.BaseTransport) -> PeerInfo:
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return PeerInfo(
        identity=identity_of_der(der) if der else None,
        remote_address=_host(transport.get_extra_info("peername")),
        local_address=_host(transport.get_extra_info("sockname")),
    )


def _host(name: Any) -> str:
    """Take the address out of a socket name; an IPv4 address in IPv6 clothes is the IPv4 address."""
    if not isinstance(name, tuple):
        return ""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(name[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return str(mapped or address)
    return str(name[0])


def _why_lost(peer: PeerInfo, error: Exception | None) -> str:
    if error is None:
        return f"{peer} closed the connection"
    if isinstance(error, ssl.SSLError):
        return f"{peer} refused the TLS connection: {error.reason or error}"
    return f"the connection to {peer} broke: {error}"

"""Framing of a stream of bytes, without I/O: messages one by one, and then chunks with a half-close.

`msgpack.Unpacker.skip` finds where a frame ends: it is resumable, so a large frame that comes in many pieces is scanned
once, and it builds no objects, so a hostile frame costs no more memory than its own bytes, which `limit` bounds. Frames
are cut off one by one, when they are asked for: a flood of small ones waits as the bytes that it came in.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from common.errors import ProtocolError
from common.wire.codec import FRAME_START, SealedFrame, open_frame
from common.wire.image_messages import ImageOffer, RelayHello
from common.wire.manager_messages import Forwarded, Taken
from common.wire.messages import MAX_FRAME_BYTES, StreamHello
from common.wire.transports import Layer

_SCAN_BUFFER = 4096
# After these, a connection carries bytes without frames.
LAST = (StreamHello, RelayHello, ImageOffer, Forwarded, Taken)
_LAST_KINDS = frozenset(kind.KIND for kind in LAST)

_LENGTH_BYTES = 4
_END = bytes(_LENGTH_BYTES)
# Up to here copying a chunk is cheaper than a TLS record for its length alone.
_JOIN_BYTES = 8192
_MAX_CHUNK = 2**31


class FrameDecoder:
    """Takes received bytes and cuts them into frames. After an error it gives nothing more: the connection is to end.

    A message after which bytes follow ends the framing: they are another protocol's, kept for `take_rest`.
    """

    __slots__ = ("_buffer", "_error", "_scanned", "_unpacker", "ended", "limit")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self.limit = limit
        self.ended = False
        # Made when bytes come and dropped between frames: it weighs 30 KiB, times the connections that a manager has.
        self._unpacker: msgpack.Unpacker | None = None
        self._buffer = bytearray()
        self._scanned = 0
        # Only the words: an exception kept here would keep its traceback, and with it every buffer in reach.
        self._error = ""

    def feed(self, data: bytes) -> None:
        """Take received bytes. `next` returns the frames in them."""
        if self._error:
            return
        self._buffer += data
        if self.ended:
            return
        if self._unpacker is None:
            # Unlimited itself: what it has scanned it drops, and `_cut` holds the unfinished frame to `limit`.
            self._unpacker = msgpack.Unpacker(max_buffer_size=0, read_size=_SCAN_BUFFER)
            self._scanned = 0
        self._unpacker.feed(data)

    def next(self) -> SealedFrame | None:
        """Cut off the next frame; None when it has not come whole.

        Raises:
            ProtocolError: it is larger than `limit`, malformed, or of an unknown kind.

        """
        if self._error:
            raise ProtocolError(self._error)
        if self.ended or self._unpacker is None:
            return None
        try:
            raw = self._cut(self._unpacker)
            frame = open_frame(raw) if raw is not None else None
        except ProtocolError as error:
            self._error = error.message
            self._buffer.clear()
            self._unpacker = None
            raise
        self.ended = frame is not None and frame.kind in _LAST_KINDS
        if self.ended or not self._buffer:
            self._unpacker = None
        return frame

    def take_rest(self) -> bytes:
        """Hand over the bytes that came after the last frame."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _cut(self, unpacker: msgpack.Unpacker) -> bytes | None:
        """Take the next whole frame off the buffer; None when it is not all there yet."""
        if not self._buffer:
            return None
        if self._buffer[0] != FRAME_START:
            raise ProtocolError(f"malformed frame: it begins with 0x{self._buffer[0]:02x}, not as an array of three")
        try:
            unpacker.skip()
        except msgpack.OutOfData:
            size = len(self._buffer)
            end = None
        except (ValueError, msgpack.UnpackException) as error:
            raise ProtocolError(f"malformed frame: {error or type(error).__name__}") from error
        else:
            end = size = unpacker.tell() - self._scanned
        if size > self.limit:
            raise ProtocolError(f"oversize frame: more than {self.limit} bytes")
        if end is None:
            return None
        self._scanned += end
        frame = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:end]
        return frame


class ChunkTransport(Layer):
    """Gives a stream the half-close that asyncio's TLS lacks: each end can finish writing and go on reading.

    It stands between a connection and a protocol: a protocol to the one, a transport to the other. Received bytes are
    passed on at once, and flow control goes through in both directions.

    Bytes travel in chunks: their number in four bytes, big-endian, and then as many bytes. An empty chunk says that
    this end has written all it will. A connection that ends without one was cut off, and its reader gets an error.

    A peer that refuses the stream answers with a frame (`Refused`), whose first byte no length of a chunk begins with:
    such an answer is passed on as it is.
    """

    def __init__(self, lower: asyncio.Transport, upper: asyncio.Protocol) -> None:
        super().__init__(lower, upper)
        self._length = bytearray()
        self._left = 0
        self._begun = False
        self._refused = False
        self._peer_done = False
        self._done = False

    # --- towards the protocol -----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        # Whoever asks for these wants to know whether half-close can be had.
        if name in {"sslcontext", "ssl_object"}:
            return default
        return self._below.get_extra_info(name, default)

    def is_reading(self) -> bool:
        return self._below.is_reading()

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._done:
            raise RuntimeError("write after write_eof")
        if not data:
            return
        length = len(data).to_bytes(_LENGTH_BYTES, "big")
        if len(data) <= _JOIN_BYTES:
            self._below.write(length + bytes(data))
        else:
            self._below.writelines([length, data])

    def write_eof(self) -> None:
        if not self._done:
            self._done = True
            self._below.write(_END)

    # --- towards the connection ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self._closing:
            if self._refused:
                self._above.data_received(bytes(rest))
                return
            if self._left:
                piece, rest = rest[: self._left], rest[self._left :]
                self._left -= len(piece)
                self._above.data_received(bytes(piece))
            else:
                rest = self._begin_chunk(rest)

    def _begin_chunk(self, rest: memoryview[Any]) -> memoryview[Any]:
        """Take what there is of a chunk's length; return the bytes after it."""
        if not self._begun and rest[0] == FRAME_START:
            self._refused = True
            return rest
        self._begun = True
        missing = _LENGTH_BYTES - len(self._length)
        self._length += rest[:missing]
        if len(self._length) == _LENGTH_BYTES:
            self._left = int.from_bytes(self._length, "big")
            self._length.clear()
            if self._peer_done or self._left > _MAX_CHUNK:
                self.abort()
            elif not self._left:
                self._peer_done = True
                if not self._above.eof_received():
                    self.close()
        return rest[missing:]

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and not (self._peer_done or self._refused or self._closing):
            exc = ConnectionResetError("the other end of the stream closed it before it was complete")
        self._closing = True
        self._above.connection_lost(exc)

"""Cuts a stream of bytes into frames, without I/O.

`msgpack.Unpacker.skip` finds where a frame ends: it is resumable, so a large frame that comes in many pieces is scanned
once, and it builds no objects, so a hostile frame costs no more memory than its own bytes, which `limit` bounds.
"""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]  # it ships no types

from common.errors import ProtocolError
from common.wire.codec import FRAME_START, Frame, decode
from common.wire.image_messages import ImageOffer, RelayHello
from common.wire.messages import MAX_FRAME_BYTES, StreamHello

_SCAN_BUFFER = 4096
# After these, a connection carries bytes without frames.
LAST = (StreamHello, RelayHello, ImageOffer)


class FrameDecoder:
    """Turns received bytes into frames. After an error it accepts nothing more: the connection is to be ended.

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

    def feed(self, data: bytes) -> list[Frame]:
        """Take received bytes; return the frames they complete, in order.

        Raises:
            ProtocolError: a frame is larger than `limit`, malformed, or of an unknown kind.

        """
        if self._error:
            raise ProtocolError(self._error)
        self._buffer += data
        if self.ended:
            return []
        if self._unpacker is None:
            # Unlimited itself: what it has scanned it drops, and `_cut` holds the unfinished frame to `limit`.
            self._unpacker = msgpack.Unpacker(max_buffer_size=0, read_size=_SCAN_BUFFER)
            self._scanned = 0
        self._unpacker.feed(data)
        frames: list[Frame] = []
        try:
            while not self.ended and (raw := self._cut(self._unpacker)) is not None:
                frames.append(frame := decode(raw))
                self.ended = isinstance(frame.message, LAST)
        except ProtocolError as error:
            self._error = error.message
            self._buffer.clear()
            self._unpacker = None
            raise
        if self.ended or not self._buffer:
            self._unpacker = None
        return frames

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

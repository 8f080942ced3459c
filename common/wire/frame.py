"""Cuts a stream of bytes into frames, without I/O.

`msgpack.Unpacker.skip` finds where a frame ends: it is resumable, so a large frame that comes in many pieces is scanned
once, and it builds no objects, so a hostile frame costs no more memory than its own bytes, which `limit` bounds. Frames
are cut off one by one, when they are asked for: a flood of small ones waits as the bytes that it came in.
"""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]  # it ships no types

from common.errors import ProtocolError
from common.wire.codec import FRAME_START, SealedFrame, open_frame
from common.wire.image_messages import ImageOffer, RelayHello
from common.wire.messages import MAX_FRAME_BYTES, StreamHello

_SCAN_BUFFER = 4096
# After these, a connection carries bytes without frames.
LAST = (StreamHello, RelayHello, ImageOffer)
_LAST_KINDS = frozenset(kind.KIND for kind in LAST)


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
        """Take received bytes. What is done with them, `next` tells."""
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

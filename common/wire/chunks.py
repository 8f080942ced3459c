"""A stream whose ends can be done one after the other: half-close, which TLS in asyncio does not have.

Bytes travel in chunks: four bytes of length, big-endian, and so many bytes. A chunk of no length says that this end has
written all it will; it still reads. A connection that ends without one was cut, and its reader is told so.

A peer that does not take the stream answers with a frame (`Refused`), whose first byte no length begins with: such an
answer is passed on as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from common.wire.codec import FRAME_START

_LENGTH_BYTES = 4
_END = bytes(_LENGTH_BYTES)
# Up to here copying a chunk is cheaper than a TLS record for its length alone.
_JOIN_BYTES = 8192
_MAX_CHUNK = 2**31


class ChunkTransport(asyncio.Transport, asyncio.Protocol):
    """Stands between a connection and a protocol: a transport to the one, a protocol to the other.

    Nothing is kept here: what arrives is passed on at once, and flow control goes through in both directions.
    """

    def __init__(self, lower: asyncio.Transport, upper: asyncio.Protocol) -> None:
        super().__init__()
        self._lower = lower
        self._upper = upper
        self._length = bytearray()
        self._left = 0
        self._begun = False
        self._refused = False
        self._peer_done = False
        self._done = False
        self._closing = False

    # --- towards the protocol -----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        # Whoever asks for these wants to know whether half-close can be had.
        if name in {"sslcontext", "ssl_object"}:
            return default
        return self._lower.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._upper = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._upper

    def is_closing(self) -> bool:
        return self._closing or self._lower.is_closing()

    def close(self) -> None:
        """Say that this end is done, and stop reading too. For a stream that is given up there is `abort`."""
        if not self.is_closing():
            self.write_eof()
            self._closing = True
            self._lower.close()

    def abort(self) -> None:
        self._closing = True
        self._lower.abort()

    def is_reading(self) -> bool:
        return self._lower.is_reading()

    def pause_reading(self) -> None:
        self._lower.pause_reading()

    def resume_reading(self) -> None:
        self._lower.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._lower.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._lower.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._lower.get_write_buffer_limits()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._done:
            raise RuntimeError("write after write_eof")
        if not data:
            return
        length = len(data).to_bytes(_LENGTH_BYTES, "big")
        if len(data) <= _JOIN_BYTES:
            self._lower.write(length + bytes(data))
        else:
            self._lower.writelines([length, data])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._done:
            self._done = True
            self._lower.write(_END)

    # --- towards the connection ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self._closing:
            if self._refused:
                self._upper.data_received(bytes(rest))
                return
            if self._left:
                piece, rest = rest[: self._left], rest[self._left :]
                self._left -= len(piece)
                self._upper.data_received(bytes(piece))
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
                if not self._upper.eof_received():
                    self.close()
        return rest[missing:]

    def pause_writing(self) -> None:
        self._upper.pause_writing()

    def resume_writing(self) -> None:
        self._upper.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and not (self._peer_done or self._refused or self._closing):
            exc = ConnectionResetError("the other end of the stream is gone before it was done")
        self._closing = True
        self._upper.connection_lost(exc)

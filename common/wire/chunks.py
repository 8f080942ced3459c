"""A stream whose ends can be done one after the other: half-close, which TLS in asyncio does not have.

Bytes travel in chunks: four bytes of length, big-endian, and so many bytes. A chunk of no length says that this end has
written all it will; it still reads. A connection that ends without one was cut, and its reader is told so.

A peer that does not take the stream answers with a frame (`Refused`), whose first byte no length begins with: such an
answer is passed on as it is.
"""

from __future__ import annotations

import asyncio
from typing import Any

from common.wire.codec import FRAME_START
from common.wire.layer import Layer

_LENGTH_BYTES = 4
_END = bytes(_LENGTH_BYTES)
# Up to here copying a chunk is cheaper than a TLS record for its length alone.
_JOIN_BYTES = 8192
_MAX_CHUNK = 2**31


class ChunkTransport(Layer):
    """Stands between a connection and a protocol: a transport to the one, a protocol to the other.

    Nothing is kept here: what arrives is passed on at once, and flow control goes through in both directions.
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
            exc = ConnectionResetError("the other end of the stream is gone before it was done")
        self._closing = True
        self._above.connection_lost(exc)

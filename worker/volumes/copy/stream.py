"""Frames over a pair of descriptors, blocking; sent no faster than a limit."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence

from common.aio.rate_limit import Rate, TokenBucket
from common.errors import SwarmError, Unavailable
from worker.volumes.copy.messages import HEADER, Lengths, Message, head, parse_header

# Of a limited rate so many seconds' worth may be sent at once.
_BURST_SECONDS = 0.1
_MOST_VECTORS = 512

Buffer = bytes | bytearray | memoryview


class Stopped(SwarmError):
    """The parent wants no more of it, or is gone."""


class Stream:
    """One side's end. One thread may send while another receives; any may call `limit` and `stop`."""

    def __init__(self, read: int, write: int) -> None:
        self._read = read
        self._write = write
        self._bucket: TokenBucket | None = None
        self._wake = threading.Event()
        self._why: SwarmError | None = None

    def limit(self, rate: float) -> None:
        """Send at most `rate` bytes a second from now on; 0 is no limit."""
        self._bucket = TokenBucket(Rate(rate * _BURST_SECONDS, rate), time.monotonic()) if rate else None

    def stop(self, why: SwarmError) -> None:
        """Let the next `send` raise this instead."""
        self._why = self._why or why
        self._wake.set()

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, message: Message, payload: Sequence[Buffer] = ()) -> None:
        """Send a frame whose payload is these pieces.

        Raises:
            SwarmError: that which `stop` was told.
            Unavailable: the other side is gone.

        """
        length = sum(map(len, payload))
        start = head(message, length)
        self._spend(len(start) + length)
        self.check()
        pieces = [memoryview(start), *(memoryview(each) for each in payload if len(each))]
        try:
            while pieces:
                written = os.writev(self._write, pieces[:_MOST_VECTORS])
                while pieces and written >= len(pieces[0]):
                    written -= len(pieces.pop(0))
                if written:
                    pieces[0] = pieces[0][written:]
        except OSError as error:
            self.check()
            raise Unavailable(f"the other side of the copy is gone: {error.strerror}") from error

    def check(self) -> None:
        """Raise what `stop` was told."""
        if self._why is not None:
            raise self._why

    def _spend(self, length: int) -> None:
        if (bucket := self._bucket) is not None and (wait := bucket.spend(length, time.monotonic())):
            self._wake.wait(wait)

    def farewell(self, message: Message) -> None:
        """Send a last message, whatever was told to stop; the other side may be gone already."""
        self._why = self._bucket = None
        with contextlib.suppress(SwarmError):
            self.send(message)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def receive(self) -> tuple[bytes, int]:
        """Return the next message's bytes and the length of its payload, which `payload` is then to take.

        Raises:
            Unavailable: the other side is gone.
            ProtocolError: it sends what is not a frame.

        """
        lengths: Lengths = parse_header(self._exactly(HEADER.size))
        return bytes(self._exactly(lengths.message)), lengths.payload

    def payload(self, length: int) -> bytearray:
        return self._exactly(length)

    def _exactly(self, length: int) -> bytearray:
        data = bytearray(length)
        view, got = memoryview(data), 0
        while got < length:
            try:
                more = os.readv(self._read, [view[got:]])
            except OSError as error:
                raise Unavailable(f"the other side of the copy is gone: {error.strerror}") from error
            if not more:
                raise Unavailable("the other side of the copy is gone")
            got += more
        return data

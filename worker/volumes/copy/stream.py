"""Frames over a pair of descriptors, blocking; sent no faster than a limit.

The `Inbox` has what comes to the sender's main thread from two others: its parent's commands, the receiver's answers.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypeVar

from common.aio.rate_limit import Rate, TokenBucket
from common.errors import ProtocolError, SwarmError, Unavailable, of_code
from worker.volumes.copy.content import Buffer
from worker.volumes.copy.control import Command
from worker.volumes.copy.messages import (
    HEADER,
    Failed,
    Lengths,
    Message,
    PassDone,
    Verified,
    head,
    parse_from_receiver,
    parse_header,
)

# Of a limited rate so many seconds' worth may be sent at once.
_BURST_SECONDS = 0.1
_MOST_VECTORS = 512
# A receiver is asked one thing after the other; more than one answer that nobody has taken is a flood.
_MOST_ANSWERS = 1


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


_Answer = TypeVar("_Answer", PassDone, Verified)


class Inbox:
    """Waits for either; whatever ends the session is raised by the waiting, and by the stream's next `send`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._changed = threading.Condition()
        self._commands: deque[Command] = deque()
        self._answers: deque[PassDone | Verified] = deque()

    def command(self) -> Command:
        """Wait for the parent's next command."""
        with self._changed:
            while not self._commands:
                self._stream.check()
                self._changed.wait()
            return self._commands.popleft()

    def answer(self, kind: type[_Answer]) -> _Answer:
        """Wait for the receiver's answer, which must be of this kind."""
        with self._changed:
            while not self._answers:
                self._stream.check()
                self._changed.wait()
            answer = self._answers.popleft()
        if not isinstance(answer, kind):
            raise ProtocolError("the receiver sent an unexpected answer")
        return answer

    # --- the two threads ----------------------------------------------------------------------------------------------

    def hear_parent(self, commands: Iterable[Command]) -> None:
        """Take commands until there are no more, which ends the session."""
        try:
            for command in commands:
                if command.do == "stop":
                    break
                if command.do == "limit":
                    self._stream.limit(command.bytes)
                else:
                    with self._changed:
                        self._commands.append(command)
                        self._changed.notify_all()
        except SwarmError as error:
            self._end(error)
        self._end(Stopped("stopped as told"))

    def hear_receiver(self) -> None:
        """Take answers until the receiver fails or is gone, which ends the session."""
        try:
            while True:
                body, length = self._stream.receive()
                self._stream.payload(length)
                message = parse_from_receiver(body)
                if isinstance(message, Failed):
                    raise of_code(message.code, message.message)
                if not isinstance(message, (PassDone, Verified)):
                    raise ProtocolError("the receiver sent an unexpected message")
                with self._changed:
                    if len(self._answers) >= _MOST_ANSWERS:
                        raise ProtocolError("the receiver answers without being asked")
                    self._answers.append(message)
                    self._changed.notify_all()
        except SwarmError as error:
            self._end(error)

    def _end(self, why: SwarmError) -> None:
        with self._changed:
            self._stream.stop(why)
            self._changed.notify_all()

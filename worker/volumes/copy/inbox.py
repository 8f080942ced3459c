"""What comes to the sender's main thread from two others: commands of its parent, answers of the receiver."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import TypeVar

from common.errors import ProtocolError, SwarmError, of_code
from worker.volumes.copy.control import Command
from worker.volumes.copy.messages import Failed, PassDone, Verified, parse_from_receiver
from worker.volumes.copy.stream import Stopped, Stream

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
                    self._answers.append(message)
                    self._changed.notify_all()
        except SwarmError as error:
            self._end(error)

    def _end(self, why: SwarmError) -> None:
        with self._changed:
            self._stream.stop(why)
            self._changed.notify_all()

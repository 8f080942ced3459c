"""The byte formats of logs: the engine's multiplexed frames, and the attributes that tell tasks apart. Sans-I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from common.errors import ProtocolError
from common.model import Task

# On the container of a task: its id.
TASK_LABEL = "com.docker.swarm.task.id"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"
STDOUT, STDERR = 1, 2
HEADER_BYTES = 8
# The engine's log drivers cut lines at 16 KiB, some at 256 KiB; what claims to be longer is not a log.
MAX_FRAME_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a log, on stdout (1) or stderr (2)."""

    stream: int
    payload: bytes

    def encode(self) -> bytes:
        return bytes((self.stream, 0, 0, 0)) + len(self.payload).to_bytes(4, "big") + self.payload


class FrameReader:
    """Cuts a multiplexed stream into frames; feed it bytes as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole by now.

        Raises:
            ProtocolError: the bytes are not a log stream.

        """
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            size = int.from_bytes(self._buffer[4:8], "big")
            if self._buffer[0] > 3 or size > MAX_FRAME_BYTES:
                raise ProtocolError("the engine sent something that is not a log stream")
            end = HEADER_BYTES + size
            if len(self._buffer) < end:
                return
            frame = Frame(self._buffer[0], bytes(self._buffer[HEADER_BYTES:end]))
            del self._buffer[:end]
            yield frame

    def end(self) -> Iterator[Frame]:
        """Yield nothing at the log's end: half a frame is not a message."""
        return iter(())


class LineReader:
    """Cuts the plain log of a container with a terminal into frames, one a line or `MAX_FRAME_BYTES`."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\n") + 1 or (len(self._buffer) if len(self._buffer) >= MAX_FRAME_BYTES else 0)
            if not end:
                return
            frame = Frame(STDOUT, bytes(self._buffer[:end]))
            del self._buffer[:end]
            yield frame

    def end(self) -> Iterator[Frame]:
        """Yield at the log's end what no line end came for: a prompt, say."""
        rest, self._buffer = bytes(self._buffer), bytearray()
        if rest:
            yield Frame(STDOUT, rest)


def attributes(task: Task) -> dict[str, str]:
    """Return what marks a task's log lines: clients match lines to tasks by these three."""
    return {
        "com.docker.swarm.node.id": task.node_id,
        "com.docker.swarm.service.id": task.service_id,
        TASK_LABEL: task.id,
    }


def with_attributes(payload: bytes, task: Task, *, timestamps: bool) -> bytes:
    """Add a task's attributes to a message that the engine gave with `details`.

    Such a message is `[timestamp ]attributes message`, its attributes sorted, escaped, joined by commas, often none.
    """
    timestamp = b""
    if timestamps:
        timestamp, _, payload = payload.partition(b" ")
        timestamp += b" "
    own, _, message = payload.partition(b" ")
    marks = [f"{quote(key, safe='')}={quote(value, safe='')}".encode() for key, value in attributes(task).items()]
    pairs = sorted([*marks, *(pair for pair in own.split(b",") if pair)])
    return timestamp + b",".join(pairs) + b" " + message

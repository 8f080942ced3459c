"""The byte formats of logs: the engine's multiplexed frames, and the attributes that tell tasks apart. Sans-I/O.

What a client asks of logs becomes the request to an engine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from common.errors import ProtocolError
from common.model import Task
from manager.api.call import UNIX_TIME, Call
from manager.api.errors import invalid

# On the container of a task: its id.
TASK_LABEL = "com.docker.swarm.task.id"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"
STDOUT, STDERR = 1, 2
HEADER_BYTES = 8
# The engine's log drivers cut lines at 16 KiB, some at 256 KiB; what claims to be longer is not a log.
MAX_FRAME_BYTES = 1024 * 1024
# Of one client, by all its connections together.
FOLLOWED_AT_ONCE = 1000


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
        # So many bytes have been looked through: a long line may come byte by byte.
        self._seen = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\n", self._seen) + 1
            end = end or (len(self._buffer) if len(self._buffer) >= MAX_FRAME_BYTES else 0)
            self._seen = 0 if end else len(self._buffer)
            if not end:
                return
            frame = Frame(STDOUT, bytes(self._buffer[:end]))
            del self._buffer[:end]
            yield frame

    def end(self) -> Iterator[Frame]:
        """Yield the rest of a log that does not end with a line end, such as a prompt."""
        rest, self._buffer, self._seen = bytes(self._buffer), bytearray(), 0
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


_TAIL = re.compile(r"[0-9]{1,18}")


class FollowedLogs:
    """How many tasks' logs each client follows: each is a connection here, to a worker, and from there to an engine."""

    def __init__(self) -> None:
        self._by_client: Counter[str] = Counter()

    @contextmanager
    def one_more(self, client: str) -> Iterator[bool]:
        """Count one within the block; False, and not counted, where the client has as many as it may."""
        if self._by_client[client] >= FOLLOWED_AT_ONCE:
            yield False
            return
        self._by_client[client] += 1
        try:
            yield True
        finally:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """`tail` and `since` as the engine takes them: empty for all."""

    stdout: bool
    stderr: bool
    follow: bool
    timestamps: bool
    details: bool
    tail: str
    since: str

    def query(self) -> str:
        """Return the query of `GET /containers/{id}/logs` for one task's container."""
        flags = {
            "stdout": self.stdout,
            "stderr": self.stderr,
            "follow": self.follow,
            "timestamps": self.timestamps,
            "details": self.details,
        }
        values = {"tail": self.tail, "since": self.since}
        return urlencode({name: "1" for name, on in flags.items() if on} | {name: v for name, v in values.items() if v})


def log_request(call: Call) -> LogRequest:
    """Read the queries of a log request.

    Raises:
        EngineError: 400; no stream is chosen, or a value is not what it should be.

    """
    request = LogRequest(
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        follow=call.flag("follow"),
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
        tail=_tail(call.query.get("tail", "")),
        since=_since(call),
    )
    if not (request.stdout or request.stderr):
        raise invalid("Bad parameters: you must choose at least one stream")
    return request


def _tail(text: str) -> str:
    if text in {"", "all"}:
        return ""
    if _TAIL.fullmatch(text) is None:
        raise invalid('tail value must be a positive integer or "all"')
    return text


def _since(call: Call) -> str:
    instant = call.instant("since")
    if instant is None:
        return ""
    given = call.query["since"]
    return given if UNIX_TIME.fullmatch(given) else f"{instant:.9f}"

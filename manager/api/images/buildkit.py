"""BuildKit's own interface, listened to: which names a client asks an image to be given, and whether it was built.

`/grpc` carries HTTP/2 with gRPC (RFC 9113; github.com/moby/buildkit api/services/control/control.proto). What is
looked for is the request `Solve`, whose exporter has the names, and that it was answered: a call that fails has no
message in its answer. Neither needs the headers, which are compressed: a request is known by its shape. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# A request or answer that is longer is not listened to: names and digests take some hundred bytes.
MAX_MESSAGE = 1 << 20
# Calls that are under way at once on one connection; a build has about five.
MAX_CALLS = 64

_FRAME_HEAD = 9
_DATA = 0
_HEADERS, _RESET = 1, 3
_END_STREAM, _PADDED = 0x1, 0x8
_GRPC_HEAD = 5
# Where `SolveRequest` has what: the exporter and its attributes before and since BuildKit 0.13.
_EXPORTER, _EXPORTER_ATTRS, _EXPORTERS = 3, 4, 13
_TYPE, _ATTRS = 1, 2
# Exporters that leave the image in the engine: Docker's own, and its containerd image store's.
_TO_THE_ENGINE = frozenset({"moby", "image"})
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10


class Malformed(ValueError):
    """The bytes are not what they should be."""


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """What one frame says in a call: data, and whether the call has ended, this way or, with a `reset`, both ways."""

    call: int
    data: bytes
    ended: bool
    reset: bool = False


class Frames:
    """Makes pieces of an HTTP/2 connection's bytes, one way. Frames that carry no data are passed over unread."""

    def __init__(self, preface: bytes = b"") -> None:
        self._expected = preface
        self._head = bytearray()
        self._payload = bytearray()
        self._left = 0
        self._kind = self._flags = self._call = 0

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Take the next bytes; yield what they complete.

        Raises:
            Malformed: they are not HTTP/2.

        """
        rest = memoryview(data)
        while rest:
            if self._expected:
                rest = self._skip_preface(rest)
            elif len(self._head) < _FRAME_HEAD:
                taken = rest[: _FRAME_HEAD - len(self._head)]
                self._head += taken
                rest = rest[len(taken) :]
                if len(self._head) == _FRAME_HEAD:
                    self._begin()
            else:
                taken = rest[: self._left]
                rest = rest[len(taken) :]
                self._left -= len(taken)
                if self._kind == _DATA:
                    self._payload += taken
            if len(self._head) == _FRAME_HEAD and not self._left:
                yield from self._end()

    def _skip_preface(self, data: memoryview) -> memoryview:
        taken = bytes(data[: len(self._expected)])
        if not self._expected.startswith(taken):
            raise Malformed("not an HTTP/2 connection")
        self._expected = self._expected[len(taken) :]
        return data[len(taken) :]

    def _begin(self) -> None:
        self._left = int.from_bytes(self._head[:3], "big")
        self._kind, self._flags = self._head[3], self._head[4]
        self._call = int.from_bytes(self._head[5:9], "big") & 0x7FFFFFFF
        if self._kind == _DATA and self._left > MAX_MESSAGE:
            raise Malformed(f"a frame of {self._left} bytes")

    def _end(self) -> Iterator[Piece]:
        data = bytes(self._payload)
        self._head.clear()
        self._payload.clear()
        if self._kind == _DATA:
            if self._flags & _PADDED:
                data = data[1 : len(data) - data[0]] if data else b""
            yield Piece(self._call, data, bool(self._flags & _END_STREAM))
        elif self._kind == _RESET or (self._kind == _HEADERS and self._flags & _END_STREAM):
            yield Piece(self._call, b"", ended=True, reset=self._kind == _RESET)


# --- gRPC -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _FirstMessage:
    """The first message of a call one way; `done` when it has come, or will not be listened to."""

    received: bytearray = field(default_factory=bytearray)
    done: bool = False

    def take(self, data: bytes) -> bytes | None:
        """Take the next bytes of the call; return the message when they complete it."""
        if self.done:
            return None
        self.received += data
        if len(self.received) < _GRPC_HEAD:
            return None
        compressed, size = self.received[0], int.from_bytes(self.received[1:_GRPC_HEAD], "big")
        if compressed or size > MAX_MESSAGE:
            self._close()
            return None
        if len(self.received) < _GRPC_HEAD + size:
            return None
        message = bytes(self.received[_GRPC_HEAD : _GRPC_HEAD + size])
        self._close()
        return message

    def _close(self) -> None:
        self.done = True
        self.received.clear()


class Solves:
    """Both ways of one connection: `asked` takes what the client says, `answered` what the engine says."""

    def __init__(self) -> None:
        self._from_client = Frames(PREFACE)
        self._from_engine = Frames()
        self._requests: dict[int, _FirstMessage] = {}
        self._answers: dict[int, tuple[tuple[str, ...], _FirstMessage]] = {}

    def asked(self, data: bytes) -> None:
        """Hear the client.

        Raises:
            Malformed: this is not HTTP/2, or more goes on at once than is listened to.

        """
        for piece in self._from_client.feed(data):
            if piece.reset:
                self._forget(piece.call)
                continue
            request = self._requests.get(piece.call)
            if request is None:
                if len(self._requests) >= MAX_CALLS:
                    raise Malformed(f"more than {MAX_CALLS} calls at once")
                request = self._requests[piece.call] = _FirstMessage()
            message = request.take(piece.data)
            if message is not None and (names := names_of(message)):
                self._answers[piece.call] = (names, _FirstMessage())

    def answered(self, data: bytes) -> list[tuple[str, ...]]:
        """Hear the engine; return the names of each image that it has built by now and has not told before.

        Raises:
            Malformed: as `asked`.

        """
        built = []
        for piece in self._from_engine.feed(data):
            if piece.call in self._answers:
                names, answer = self._answers[piece.call]
                if answer.take(piece.data) is not None:
                    built.append(names)
            if piece.ended:
                self._forget(piece.call)
        return built

    def _forget(self, call: int) -> None:
        self._requests.pop(call, None)
        self._answers.pop(call, None)


# --- protocol buffers -------------------------------------------------------------------------------------------------


def names_of(message: bytes) -> tuple[str, ...]:
    """Return the names that a `SolveRequest` asks the engine to give an image; none of any other message."""
    try:
        fields = list(_fields(message))
        exporters = [(_text(fields, _EXPORTER), _map(fields, _EXPORTER_ATTRS))]
        for number, value in fields:
            if number == _EXPORTERS and isinstance(value, bytes):
                inner = list(_fields(value))
                exporters.append((_text(inner, _TYPE), _map(inner, _ATTRS)))
    except Malformed:
        return ()
    names = [attrs.get("name", "") for kind, attrs in exporters if kind in _TO_THE_ENGINE]
    return tuple(dict.fromkeys(name for each in names for name in each.split(",") if name))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        size, at = _size(message, at, kind)
        if at + size > len(message):
            raise Malformed("a field is cut off")
        yield tag >> 3, message[at : at + size]
        at += size


def _size(message: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind == _BYTES:
        return _varint(message, at)
    if kind in (_FIXED64, _FIXED32):
        return (8 if kind == _FIXED64 else 4), at
    raise Malformed(f"a field of kind {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MAX_VARINT):
        if at + shift >= len(message):
            break
        byte = message[at + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise Malformed("a number without an end")


def _text(fields: list[tuple[int, int | bytes]], number: int) -> str:
    """Return a text field, the last where it comes several times; empty where it is not there, or not a text."""
    found = [value for each, value in fields if each == number]
    return found[-1].decode(errors="replace") if found and isinstance(found[-1], bytes) else ""


def _map(fields: list[tuple[int, int | bytes]], number: int) -> dict[str, str]:
    """Return a field of kind `map<string, string>`."""
    entries = [list(_fields(value)) for each, value in fields if each == number and isinstance(value, bytes)]
    return {_text(entry, 1): _text(entry, 2) for entry in entries}

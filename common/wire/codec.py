"""Messages to bytes and back: the frame is the msgpack array `[kind, id, body]`.

Reading has two steps: `open_frame` tells what a frame is and how large, and builds nothing of its body; `read` makes
the message, which may take many times the frame's bytes, and is not asked to before the message is wanted.

msgspec writes the whole frame in one pass and reads it strictly: a wrong type, an unknown field of a message, a missing
field or bytes left over are a `ProtocolError`, never a guess. Only of a `Hello` or `JoinRequest` of another version of
the protocol is the version read all the same, so that its sender can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, NamedTuple, get_args

import msgspec

from common.errors import ProtocolError
from common.model.node import NodeDescription
from common.text.terminal import printable
from common.wire.message import Message
from common.wire.messages import (
    MAX_FRAME_BYTES,
    OLDEST_PROTOCOL,
    PROTOCOL_VERSION,
    AnyMessage,
    Hello,
    JoinRequest,
)

FRAME_START = 0x93  # msgpack: an array of three
# Characters of what is wrong with a frame, which may name fields as the peer wrote them.
_LONGEST_REASON = 300


class Frame(NamedTuple):
    """One message and the number of the request that it asks or answers; 0 where no answer is due."""

    id: int
    message: AnyMessage


class SealedFrame(NamedTuple):
    """A frame whose body has not been read: the message's number, the request's, the body, and the size in bytes."""

    kind: int
    id: int
    body: msgspec.Raw
    size: int


class _Version(msgspec.Struct):
    """All that is read of a message of another version of the protocol."""

    protocol: int


MESSAGE_TYPES: tuple[type[Message], ...] = get_args(AnyMessage)

_BODIES = MappingProxyType({kind.KIND: msgspec.msgpack.Decoder(kind) for kind in MESSAGE_TYPES})
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_ENVELOPE = msgspec.msgpack.Decoder(tuple[_Number, _Number, msgspec.Raw])
_VERSION = msgspec.msgpack.Decoder(_Version)
_ENCODER = msgspec.msgpack.Encoder()


def encode(message: AnyMessage, request_id: int = 0) -> bytes:
    """Write one frame.

    Raises:
        ProtocolError: it would be larger than `MAX_FRAME_BYTES`, which no peer accepts.

    """
    frame = _ENCODER.encode((message.KIND, request_id, message))
    if len(frame) > MAX_FRAME_BYTES:
        raise ProtocolError(
            f"a {type(message).__name__} of {len(frame)} bytes is larger than a frame may be ({MAX_FRAME_BYTES} bytes)"
        )
    return frame


def decode(frame: bytes) -> Frame:
    """Read exactly one frame.

    Raises:
        ProtocolError: it is malformed, of an unknown kind, or its body is not what its kind says.

    """
    return read(open_frame(frame))


def open_frame(frame: bytes) -> SealedFrame:
    """Tell what exactly one frame is.

    Raises:
        ProtocolError: it is malformed, or of an unknown kind.

    """
    try:
        kind, request_id, body = _ENVELOPE.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"malformed frame: {printable(str(error), _LONGEST_REASON)}") from error
    if kind not in _BODIES:
        raise ProtocolError(f"unknown kind of message: {kind}")
    return SealedFrame(kind, request_id, body, len(frame))


def read(sealed: SealedFrame, sizes: Mapping[int, int] | None = None) -> Frame:
    """Read a frame's message. `sizes`: the kinds that may be said, and how large a frame of each may be.

    Raises:
        ProtocolError: it is not one of `sizes`, or its body is not what its kind says.

    """
    decoder = _BODIES[sealed.kind]
    if sizes is not None:
        _check_size(sealed, decoder.type.__name__, sizes)
    try:
        return Frame(sealed.id, decoder.decode(sealed.body))  # type: ignore[arg-type]  # exactly the union's types
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        foreign = _foreign(sealed.kind, sealed.body)
        if foreign is not None:
            return Frame(sealed.id, foreign)
        raise ProtocolError(f"malformed {decoder.type.__name__}: {printable(str(error), _LONGEST_REASON)}") from error


def _check_size(sealed: SealedFrame, name: str, sizes: Mapping[int, int]) -> None:
    most = sizes.get(sealed.kind)
    if most is None:
        raise ProtocolError(f"{name}: no such message is expected here")
    if sealed.size > most:
        raise ProtocolError(f"oversize {name}: {sealed.size} bytes, where at most {most} are allowed")


def _foreign(kind: int, raw: msgspec.Raw) -> Hello | JoinRequest | None:
    """Read what a peer with another protocol begins with: of its version, and no more. None: it is not that."""
    if kind not in (Hello.KIND, JoinRequest.KIND):
        return None
    try:
        protocol = _VERSION.decode(raw).protocol
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if OLDEST_PROTOCOL <= protocol <= PROTOCOL_VERSION:
        return None
    if kind == Hello.KIND:
        return Hello(protocol=protocol, description=NodeDescription())
    return JoinRequest(protocol=protocol, token="", csr=b"", clock=0.0, hostname="")

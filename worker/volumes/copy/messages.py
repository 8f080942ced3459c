"""What the two halves of a copy say to each other, and how it is cut into frames.

A frame is the length of its message, the length of its payload (both four bytes, big-endian), the message as msgpack,
and the payload as it is: content is never packed and unpacked. Both lengths are bounded before anything is read.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from common.errors import ProtocolError
from worker.volumes.copy.entries import MIB

PROTOCOL = 1
HEADER = struct.Struct(">II")
MESSAGE_BYTES = 4 * MIB
PAYLOAD_BYTES = MIB
# How much is collected before it is sent: small files in one frame, records in one message.
BATCH_BYTES = 256 * 1024
BATCH_ITEMS = 1000


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One of the below."""


class Hello(Message, frozen=True, array_like=True, tag=1):
    """The first of both sides."""

    protocol: int
    role: str


class Have(msgspec.Struct, frozen=True, array_like=True):
    """A file that the receiver has. `blocks`: digests of its blocks, of many only the first."""

    path: bytes
    record: bytes
    blocks: bytes


class Haves(Message, frozen=True, array_like=True, tag=2):
    """Files that the receiver has, in the order of a walk."""

    items: tuple[Have, ...]


class MoreBlocks(Message, frozen=True, array_like=True, tag=3):
    """Payload: further digests of the file that was named last."""


class HavesEnd(Message, frozen=True, array_like=True, tag=4):
    """The receiver has nothing else."""


class PassStart(Message, frozen=True, array_like=True, tag=5):
    """A pass begins, which needs about `room` bytes more on the target."""

    number: int
    last: bool
    room: int


class Change(msgspec.Struct, frozen=True, array_like=True):
    """A file that is to be as `record` says, or is gone if that is empty. `length`: of its content in the payload."""

    path: bytes
    record: bytes
    length: int = 0


class Changes(Message, frozen=True, array_like=True, tag=6):
    """Changes in the order in which they are to be made. Payload: the content of files of one block, one by one."""

    items: tuple[Change, ...]


class Begin(Message, frozen=True, array_like=True, tag=7):
    """Blocks of one file follow. Those that do not are as the receiver has them; holes if it has the file `anew`."""

    path: bytes
    block: int
    size: int
    anew: bool


class Blocks(Message, frozen=True, array_like=True, tag=8):
    """Payload: consecutive blocks, all whole but that at the end of the file."""

    first: int


class Holes(Message, frozen=True, array_like=True, tag=9):
    """Consecutive blocks that have only zeros."""

    first: int
    count: int


class End(Message, frozen=True, array_like=True, tag=10):
    """The file that was begun is to be as `record` says."""

    record: bytes


class PassEnd(Message, frozen=True, array_like=True, tag=11):
    """Nothing more in this pass."""

    number: int


class PassDone(Message, frozen=True, array_like=True, tag=12):
    """The receiver's answer. `digest` of the whole folder; empty unless it was the last pass."""

    number: int
    digest: bytes


class Verify(Message, frozen=True, array_like=True, tag=13):
    """The receiver is to read back what it has."""


class Verified(Message, frozen=True, array_like=True, tag=14):
    digest: bytes


class Stop(Message, frozen=True, array_like=True, tag=15):
    """The sender wants nothing more."""


class Failed(Message, frozen=True, array_like=True, tag=16):
    """The other side cannot go on. `code`: of the `SwarmError`."""

    code: str
    message: str


FromSender = Hello | PassStart | Changes | Begin | Blocks | Holes | End | PassEnd | Verify | Stop | Failed
FromReceiver = Hello | Haves | MoreBlocks | HavesEnd | PassDone | Verified | Failed

_ENCODER = msgspec.msgpack.Encoder()
_SENDER: msgspec.msgpack.Decoder[FromSender] = msgspec.msgpack.Decoder(FromSender)
_RECEIVER: msgspec.msgpack.Decoder[FromReceiver] = msgspec.msgpack.Decoder(FromReceiver)


class Lengths(NamedTuple):
    message: int
    payload: int


def head(message: Message, payload_bytes: int) -> bytes:
    """Return the beginning of a frame: all but its payload."""
    body = _ENCODER.encode(message)
    return HEADER.pack(len(body), payload_bytes) + body


def parse_header(data: bytes | bytearray) -> Lengths:
    """Read a frame's lengths.

    Raises:
        ProtocolError: they are longer than any that this program sends.

    """
    lengths = Lengths(*HEADER.unpack(data))
    if not 0 < lengths.message <= MESSAGE_BYTES or lengths.payload > PAYLOAD_BYTES:
        raise ProtocolError("the other side sent a frame that is too long")
    return lengths


def parse_from_sender(body: bytes) -> FromSender:
    """Read what a sender says. Raises ProtocolError."""
    try:
        return _SENDER.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"the sender sent a malformed message: {error}") from error


def parse_from_receiver(body: bytes) -> FromReceiver:
    """Read what a receiver says. Raises ProtocolError."""
    try:
        return _RECEIVER.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"the receiver sent a malformed message: {error}") from error

"""How a sender learns what the receiver has. Its word is a stranger's: what contradicts itself is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.errors import ProtocolError, of_code
from worker.volumes.copy.content import root_of
from worker.volumes.copy.entries import (
    DIGEST_BYTES,
    FILE,
    count_blocks,
    encode_record,
    parse_path,
    parse_record,
    show,
)
from worker.volumes.copy.messages import (
    BATCH_BYTES,
    BATCH_ITEMS,
    PROTOCOL,
    Failed,
    FromReceiver,
    Have,
    Haves,
    HavesEnd,
    Hello,
    MoreBlocks,
    parse_from_receiver,
)
from worker.volumes.copy.stream import Stream

# What a sender keeps on its disk of that. A folder of which there is more to say cannot be copied.
_MOST_BYTES = 16 * 1024**3


def say_haves(stream: Stream, haves: Iterable[Have]) -> None:
    """Be the receiver that says what it has, in the order of paths."""
    items: list[Have] = []
    size = 0
    for have in haves:
        items.append(Have(have.path, have.record, have.blocks[:BATCH_BYTES]))
        size += len(have.path) + len(have.record) + min(len(have.blocks), BATCH_BYTES)
        rest = have.blocks[BATCH_BYTES:]
        if rest or size >= BATCH_BYTES or len(items) >= BATCH_ITEMS:
            stream.send(Haves(tuple(items)))
            items, size = [], 0
        for at in range(0, len(rest), BATCH_BYTES):
            stream.send(MoreBlocks(), [rest[at : at + BATCH_BYTES]])
    stream.send(Haves(tuple(items)))
    stream.send(HavesEnd())


def take_haves(stream: Stream) -> Iterator[Have]:
    """Be the sender that hears it, after its own hello; yield it, checked, in the order of paths.

    Raises:
        SwarmError: the receiver has failed, speaks another protocol, or not what it should.

    """
    hello, _ = _next(stream)
    if not isinstance(hello, Hello) or hello.protocol != PROTOCOL or hello.role != "receiver":
        raise ProtocolError("the other side of the copy is not a receiver of this version")
    last: bytes | None = None
    room = _MOST_BYTES
    for have in _whole(stream):
        if last is not None and have.path <= last:
            raise ProtocolError("the receiver does not list what it has in order")
        last = have.path
        room -= len(have.path) + len(have.record) + len(have.blocks)
        if room < 0:
            raise ProtocolError("the receiver has more than a sender can remember")
        yield have


def _whole(stream: Stream) -> Iterator[Have]:
    """Yield what the receiver has, each with all its blocks."""
    message, _ = _next(stream)
    while not isinstance(message, HavesEnd):
        if not isinstance(message, Haves):
            raise ProtocolError("the receiver does not say what it has")
        *items, last = message.items or (None,)
        yield from (_checked(each, each.blocks) for each in items if each is not None)
        message, more = _next(stream)
        if last is None:
            if not isinstance(message, HavesEnd):
                raise ProtocolError("the receiver says again and again that it has nothing more")
            continue
        blocks = bytearray(last.blocks)
        while isinstance(message, MoreBlocks) and more and len(blocks) < _length_of_blocks(last):
            blocks += more
            message, more = _next(stream)
        yield _checked(last, bytes(blocks))


def _checked(have: Have, blocks: bytes) -> Have:
    path, record = parse_path(have.path), parse_record(have.record)
    consistent = record.kind != FILE or root_of(blocks) == record.root
    if len(blocks) != _length_of_blocks(have) or not consistent:
        raise ProtocolError(f"what the receiver says of {show(path)} contradicts itself")
    return Have(path, encode_record(record), blocks)


def _length_of_blocks(have: Have) -> int:
    record = parse_record(have.record)
    return count_blocks(record.size, record.block) * DIGEST_BYTES if record.kind == FILE else 0


def _next(stream: Stream) -> tuple[FromReceiver, bytearray]:
    body, length = stream.receive()
    message, payload = parse_from_receiver(body), stream.payload(length)
    if isinstance(message, Failed):
        raise of_code(message.code, message.message)
    return message, payload

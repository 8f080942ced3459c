"""How a sender learns what the receiver has. Its word is a stranger's: what contradicts itself is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.errors import ProtocolError, of_code
from worker.volumes.copy.digests import Digests
from worker.volumes.copy.entries import (
    DIGEST_BYTES,
    FILE,
    count_blocks,
    encode_record,
    parse_path,
    parse_record,
    show,
)
from worker.volumes.copy.index import Row
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
# Of digests in a message.
_BATCH = BATCH_BYTES // DIGEST_BYTES


def say_haves(stream: Stream, haves: Iterable[Row]) -> None:
    """Be the receiver that says what it has, in the order of paths."""
    items: list[Have] = []
    size = 0
    for have in haves:
        blocks = Digests.unpack(have.blocks)
        first = blocks.read(0, min(len(blocks), _BATCH))
        items.append(Have(have.path, have.record, first))
        size += len(have.path) + len(have.record) + len(first)
        if len(blocks) > _BATCH or size >= BATCH_BYTES or len(items) >= BATCH_ITEMS:
            stream.send(Haves(tuple(items)))
            items, size = [], 0
        for at in range(_BATCH, len(blocks), _BATCH):
            stream.send(MoreBlocks(), [blocks.read(at, min(len(blocks) - at, _BATCH))])
    stream.send(Haves(tuple(items)))
    stream.send(HavesEnd())


def take_haves(stream: Stream) -> Iterator[Row]:
    """Be the sender that hears it, after its own hello; yield it, checked, in the order of paths, without keys.

    Raises:
        SwarmError: the receiver has failed, speaks another protocol, or not what it should.

    """
    hello, _ = _next(stream)
    if not isinstance(hello, Hello) or hello.protocol != PROTOCOL or hello.role != "receiver":
        raise ProtocolError("the other side of the copy is not a receiver of this version")
    last: bytes | None = None
    room = _MOST_BYTES
    for have, blocks in _whole(stream):
        if last is not None and have.path <= last:
            raise ProtocolError("the receiver does not list what it has in order")
        last = have.path
        room -= len(have.path) + len(have.record) + len(blocks) * DIGEST_BYTES
        if room < 0:
            raise ProtocolError("the receiver has more than a sender can remember")
        yield _checked(have, blocks)


def _whole(stream: Stream) -> Iterator[tuple[Have, Digests]]:
    """Yield what the receiver has, each with all its blocks."""
    message, _ = _next(stream)
    while not isinstance(message, HavesEnd):
        if not isinstance(message, Haves):
            raise ProtocolError("the receiver does not say what it has")
        *items, last = message.items or (None,)
        for each in items:
            if each is not None:
                yield each, _begun(each)
        message, more = _next(stream)
        if last is None:
            if not isinstance(message, HavesEnd):
                raise ProtocolError("the receiver says again and again that it has nothing more")
            continue
        blocks = _begun(last)
        while isinstance(message, MoreBlocks) and more and len(blocks) < _count(last):
            _append(blocks, more, last)
            message, more = _next(stream)
        yield last, blocks


def _begun(have: Have) -> Digests:
    blocks = Digests()
    _append(blocks, have.blocks, have)
    return blocks


def _append(blocks: Digests, digests: bytes | bytearray, have: Have) -> None:
    if len(digests) % DIGEST_BYTES or len(blocks) + len(digests) // DIGEST_BYTES > _count(have):
        raise _contradiction(have)
    blocks.append(digests)


def _checked(have: Have, blocks: Digests) -> Row:
    path, record = parse_path(have.path), parse_record(have.record)
    if len(blocks) != _count(have) or (record.kind == FILE and blocks.root() != record.root):
        raise _contradiction(have)
    return Row(path, b"", encode_record(record), blocks.pack())


def _contradiction(have: Have) -> ProtocolError:
    return ProtocolError(f"what the receiver says of {show(have.path)} contradicts itself")


def _count(have: Have) -> int:
    """Return how many blocks it is to have."""
    record = parse_record(have.record)
    return count_blocks(record.size, record.block) if record.kind == FILE else 0


def _next(stream: Stream) -> tuple[FromReceiver, bytearray]:
    body, length = stream.receive()
    message, payload = parse_from_receiver(body), stream.payload(length)
    if isinstance(message, Failed):
        raise of_code(message.code, message.message)
    return message, payload

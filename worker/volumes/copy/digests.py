"""The digests of a file's blocks, in which holes take no room: a file may be a few bytes on the wire and 16 TiB long.

They are kept in segments of 128 blocks; a segment of holes alone is not there. A segment takes a fiftieth of the
smallest block, and a whole block has to come before one of its digests is anything but `ZEROS`.

Packed, as in an index: how many blocks there are, then the number of each segment that is there, and its digests.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from worker.volumes.copy.entries import DIGEST_BYTES, ZEROS

_BLOCKS = 128
_SEGMENT = _BLOCKS * DIGEST_BYTES
_HOLES = ZEROS * _BLOCKS
_NUMBER = struct.Struct(">I")
# What comes before the digest of a file's only block: that there is one, and the number of its segment.
_ONE_BLOCK, _FIRST_SEGMENT = _NUMBER.pack(1), _NUMBER.pack(0)


class Digests:
    """So many blocks' digests, all of holes at first. Different blocks may be set by different threads."""

    def __init__(self, blocks: int = 0) -> None:
        self._blocks = blocks
        self._segments: dict[int, bytearray] = {}

    @classmethod
    def unpack(cls, packed: bytes) -> Digests:
        """Read what `pack` has written."""
        found = cls()
        if packed:
            (found._blocks,) = _NUMBER.unpack_from(packed)
        at = _NUMBER.size
        while at < len(packed):
            (number,) = _NUMBER.unpack_from(packed, at)
            at += _NUMBER.size
            found._segments[number] = bytearray(packed[at : at + _SEGMENT]).ljust(_SEGMENT, b"\0")
            at += found._length(number)
        return found

    def __len__(self) -> int:
        """Return how many blocks there are."""
        return self._blocks

    def set(self, first: int, digests: bytes | bytearray) -> None:
        """Set those of consecutive blocks, which are there."""
        at, done = first * DIGEST_BYTES, 0
        while done < len(digests):
            number, begin = divmod(at + done, _SEGMENT)
            part = digests[done : done + _SEGMENT - begin]
            if number in self._segments or part.count(0) < len(part):
                self._segments.setdefault(number, bytearray(_SEGMENT))[begin : begin + len(part)] = part
            done += len(part)

    def clear(self, first: int, count: int) -> None:
        """Make consecutive blocks holes."""
        end = first + count
        for number in range(first // _BLOCKS, -(-end // _BLOCKS)):
            start, stop = max(first - number * _BLOCKS, 0), min(end - number * _BLOCKS, _BLOCKS)
            if stop - start == _BLOCKS:
                self._segments.pop(number, None)
            elif (segment := self._segments.get(number)) is not None:
                segment[start * DIGEST_BYTES : stop * DIGEST_BYTES] = ZEROS * (stop - start)

    def append(self, digests: bytes | bytearray) -> None:
        """Add whole digests."""
        first = self._blocks
        self._blocks += len(digests) // DIGEST_BYTES
        self.set(first, digests)

    def resize(self, blocks: int) -> None:
        """Cut off blocks, or add holes."""
        if blocks < self._blocks:
            self.clear(blocks, self._blocks - blocks)
        self._blocks = blocks

    def read(self, first: int, count: int) -> bytes:
        """Return those of consecutive blocks; what is beyond the end is a hole."""
        at, rest, parts = first * DIGEST_BYTES, count * DIGEST_BYTES, []
        while rest:
            number, begin = divmod(at, _SEGMENT)
            part = self._segments.get(number, _HOLES)[begin : begin + rest]
            parts.append(bytes(part))
            at, rest = at + len(part), rest - len(part)
        return b"".join(parts)

    def pieces(self) -> Iterator[bytes]:
        """Yield all of them in order, joined, a segment at a time."""
        for number in range(-(-self._blocks // _BLOCKS)):
            yield bytes(self._segments.get(number, _HOLES)[: self._length(number)])

    def pack(self) -> bytes:
        """Return the one text of these digests: of holes it has the number alone."""
        if not self._blocks:
            return b""
        parts: list[bytes | bytearray] = [_NUMBER.pack(self._blocks)]
        for number, segment in sorted(self._segments.items()):
            if segment.count(0) < _SEGMENT:
                parts += (_NUMBER.pack(number), segment[: self._length(number)])
        return b"".join(parts)

    def root(self) -> bytes:
        """Return what stands for the file's content in its record: of one block, its digest."""
        if self._blocks == 1:
            return self.read(0, 1)
        whole = hashlib.sha256()
        for piece in self.pieces():
            whole.update(piece)
        return whole.digest()[:DIGEST_BYTES]

    def _length(self, number: int) -> int:
        """Return how many bytes of a segment are within the file."""
        return min(_SEGMENT, self._blocks * DIGEST_BYTES - number * _SEGMENT)


def packed(digests: bytes) -> bytes:
    """Pack joined digests. Most files have one block, whose are put together here."""
    if len(digests) == DIGEST_BYTES:
        return _ONE_BLOCK if digests == ZEROS else _ONE_BLOCK + _FIRST_SEGMENT + digests
    found = Digests()
    found.append(digests)
    return found.pack()

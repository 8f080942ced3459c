"""Reads files in blocks, with their digests: two threads read and digest ahead, as both let others run meanwhile."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from worker.volumes.copy.entries import DIGEST_BYTES, LARGE_BLOCK, MIB, ZEROS, count_blocks, digest

Buffer = bytes | bytearray | memoryview

READERS = 2
_AHEAD = 4
# What is read and sent at a time: whole blocks of either size.
CHUNK = MIB
_NOTHING = bytes(LARGE_BLOCK)


class Chunk(NamedTuple):
    """So many consecutive blocks. `data` is empty if they are holes; `digests` are joined."""

    first: int
    blocks: int
    data: bytes
    digests: bytes


def is_zeros(data: Buffer) -> bool:
    """Return whether at most a large block of bytes has only zeros."""
    return not (data and data[0]) and data == _NOTHING[: len(data)]


def write_all(file: int, data: Buffer, at: int) -> None:
    written = os.pwrite(file, data, at)
    if written < len(data):
        view = memoryview(data)
        while view := view[written:]:
            at += written
            written = os.pwrite(file, view, at)


def digest_block(data: Buffer) -> bytes:
    """Return the digest of a block, which is `ZEROS` if it has only zeros."""
    return ZEROS if is_zeros(data) else digest(data)


def digests_of(data: Buffer, block: int) -> bytes:
    if 0 < len(data) <= block:
        return digest_block(data)
    view = memoryview(data)
    return b"".join(digest_block(view[at : at + block]) for at in range(0, len(view), block))


class Reader:
    """Reads files. Close it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="read")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def chunks(self, file: int, size: int, block: int) -> Iterator[Chunk]:
        """Yield all blocks of a file of `size` bytes in order, holes without reading them.

        What a file that got shorter meanwhile has no more comes as zeros. It is to be read again anyway.
        """
        ahead: deque[Future[Chunk]] = deque()
        chunks = _plan(file, size, block)
        try:
            for start, length, is_hole in chunks:
                ahead.append(self._pool.submit(_read, file, start, length, block, is_hole))
                if len(ahead) >= _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for each in ahead:
                if not each.cancel():
                    each.exception()


def _read(file: int, start: int, length: int, block: int, is_hole: bool) -> Chunk:
    first = start // block
    if is_hole:
        count = count_blocks(length, block)
        return Chunk(first, count, b"", ZEROS * count)
    data = read_all(file, length, start)
    return Chunk(first, count_blocks(length, block), data, digests_of(data, block))


def read_all(file: int, length: int, start: int = 0) -> bytes:
    """Read `length` bytes, with zeros for those that are not there."""
    data = os.pread(file, length, start)
    while len(data) < length:
        more = os.pread(file, length - len(data), start + len(data))
        data += more or bytes(length - len(data))
    return data


def _plan(file: int, size: int, block: int) -> Iterator[tuple[int, int, bool]]:
    """Yield start, length, and whether it is a hole, of what to read at a time; a block that is partly one is read."""
    at = 0
    while at < size:
        begin, end = _next_data(file, at, size)
        begin = begin // block * block
        if begin > at:
            yield from _cut(at, begin, True)
        at, end = max(at, begin), min(size, -(-end // block) * block)
        yield from _cut(at, end, False)
        at = max(at, end)


def _cut(begin: int, end: int, is_hole: bool) -> Iterator[tuple[int, int, bool]]:
    step = CHUNK * (1024 if is_hole else 1)
    for start in range(begin, end, step):
        yield start, min(step, end - start), is_hole


def data_ranges(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of what is not a hole in the first `size` bytes of a file."""
    at = 0
    while at < size:
        begin, at = _next_data(file, at, size)
        if begin < at:
            yield begin, at - begin


def _next_data(file: int, at: int, size: int) -> tuple[int, int]:
    """Return begin and end of the data that comes next; `size` for both if there is none."""
    try:
        begin = os.lseek(file, at, os.SEEK_DATA)
        return min(begin, size), min(os.lseek(file, begin, os.SEEK_HOLE), size)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return at, size
        raise


def root_of(digests: bytes | bytearray) -> bytes:
    """Return what stands for a file's content in its record: of one block, its digest."""
    return bytes(digests) if len(digests) == DIGEST_BYTES else digest(digests)

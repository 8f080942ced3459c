"""Digests of blocks, of which holes take no room."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.volumes.copy.content import root_of
from worker.volumes.copy.digests import Digests, packed
from worker.volumes.copy.entries import DIGEST_BYTES, ZEROS

MOST = 3000
ONE = b"1" * DIGEST_BYTES
# What one file may have at most: 16 TiB in large blocks.
LONGEST = 16 * 1024 * 1024

places = st.integers(0, MOST)
steps = st.one_of(
    st.tuples(st.just("set"), places, st.binary(min_size=1, max_size=3).map(lambda each: each * 7)),
    st.tuples(st.just("clear"), places, st.integers(1, MOST)),
    st.tuples(st.just("resize"), places, st.just(0)),
)


def joined(digests: Digests) -> bytes:
    return b"".join(digests.pieces())


@given(st.lists(steps, max_size=12))
def test_they_are_as_one_text_would_be(made: list[tuple[str, int, bytes | int]]) -> None:
    digests, plain = Digests(MOST), bytearray(ZEROS * MOST)
    for step, at, what in made:
        size = len(plain) // DIGEST_BYTES
        if isinstance(what, bytes):
            new = (
                b"".join(bytes([each]) * DIGEST_BYTES for each in what)[: (size - at) * DIGEST_BYTES]
                if at < size
                else b""
            )
            plain[at * DIGEST_BYTES : at * DIGEST_BYTES + len(new)] = new
            digests.set(at, new)
        elif step == "clear":
            count = max(0, min(what, size - at))
            plain[at * DIGEST_BYTES : (at + count) * DIGEST_BYTES] = ZEROS * count
            digests.clear(at, count)
        else:
            plain = plain[: at * DIGEST_BYTES].ljust(at * DIGEST_BYTES, b"\0")
            digests.resize(at)
        assert joined(digests) == plain
    assert len(digests) * DIGEST_BYTES == len(plain)
    assert digests.root() == root_of(plain)
    assert digests.read(0, MOST + 5) == plain.ljust((MOST + 5) * DIGEST_BYTES, b"\0")
    again = Digests.unpack(digests.pack())
    assert (joined(again), again.pack()) == (plain, digests.pack())
    assert packed(bytes(plain)) == digests.pack()


@pytest.mark.parametrize("digest", [ONE, ZEROS], ids=["data", "hole"])
@pytest.mark.parametrize("blocks", [0, 1, 127, 128, 129])
def test_any_number_of_blocks_is_packed_and_read(blocks: int, digest: bytes) -> None:
    text = packed(digest * blocks)
    assert joined(Digests.unpack(text)) == digest * blocks
    assert Digests.unpack(text).pack() == text


def test_holes_take_no_room() -> None:
    tracemalloc.start()
    try:
        digests = Digests()
        digests.resize(LONGEST)
        digests.clear(0, LONGEST)
        digests.set(LONGEST // 2, ONE)
        text = digests.pack()
        again = Digests.unpack(text)
        assert again.root() == digests.root()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(text) < 3_000
    assert peak < 1_000_000

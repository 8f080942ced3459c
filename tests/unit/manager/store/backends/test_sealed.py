"""Sealed values: what was sealed comes back, at its path and with its key; nothing else opens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.store.backends.sealed import KEY_BYTES, OVERHEAD_BYTES, AesSeal, NotOpened

KEY, OTHER = b"k" * KEY_BYTES, b"o" * KEY_BYTES
PATHS = st.text(max_size=40)
VALUES = st.binary(max_size=2000)


@given(PATHS, VALUES)
def test_what_was_sealed_comes_back(path: str, value: bytes) -> None:
    seal = AesSeal({1: KEY}, 1)
    sealed = seal.seal(path, value)
    assert len(sealed) == len(value) + OVERHEAD_BYTES
    assert seal.open(path, sealed) == value


@given(PATHS, VALUES, st.data())
def test_one_flipped_bit_is_noticed(path: str, value: bytes, data: st.DataObject) -> None:
    seal = AesSeal({1: KEY, 2: OTHER, 3: KEY}, 1)
    sealed = bytearray(seal.seal(path, value))
    bit = data.draw(st.integers(8, 8 * len(sealed) - 1))  # the key's number is tried below
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotOpened, match="does not open with key 1: it was changed or moved"):
        seal.open(path, bytes(sealed))


@given(PATHS, PATHS, VALUES)
def test_a_value_at_another_path_does_not_open(path: str, other: str, value: bytes) -> None:
    seal = AesSeal({1: KEY}, 1)
    if path != other:
        with pytest.raises(NotOpened, match="it was changed or moved"):
            seal.open(other, seal.seal(path, value))


@given(VALUES)
def test_a_cut_value_does_not_open(value: bytes) -> None:
    seal = AesSeal({1: KEY}, 1)
    sealed = seal.seal("secret/a", value)
    for length in {0, 1, OVERHEAD_BYTES - 1, len(sealed) - 1}:
        with pytest.raises(NotOpened, match=r"^secret/a "):
            seal.open("secret/a", sealed[:length])


def test_another_clusters_key_does_not_open_it() -> None:
    with pytest.raises(NotOpened, match="or sealed with the key of another cluster"):
        AesSeal({1: OTHER}, 1).open("secret/a", AesSeal({1: KEY}, 1).seal("secret/a", b"data"))


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(NotOpened, match="was sealed with key 2, which is not among"):
        AesSeal({1: KEY}, 1).open("secret/a", AesSeal({2: OTHER}, 2).seal("secret/a", b"data"))


def test_an_older_key_still_opens_what_it_sealed() -> None:
    before = AesSeal({1: KEY}, 1).seal("secret/a", b"data")
    now = AesSeal({1: KEY, 2: OTHER}, 2)
    assert now.open("secret/a", before) == b"data"
    assert now.seal("secret/a", b"data")[0] == 2


def test_equal_values_do_not_look_equal() -> None:
    seal = AesSeal({1: KEY}, 1)
    assert seal.seal("secret/a", b"data") != seal.seal("secret/a", b"data")

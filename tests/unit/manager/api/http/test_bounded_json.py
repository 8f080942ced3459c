"""JSON from outside is decoded within bounds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.api.http.bounded_json import MAX_DEPTH, MAX_VALUES, WrongJson, decode, values_in

LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner))


@given(VALUES)
def test_what_is_within_the_bounds_is_decoded_as_it_is(value: object) -> None:
    assert decode(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"nan", b'{"a":}'])
def test_what_is_not_json_is_told(text: bytes) -> None:
    with pytest.raises(WrongJson, match="it is not JSON"):
        decode(text)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5000, 100_000])
def test_depth_is_bounded(depth: int) -> None:
    with pytest.raises(WrongJson, match=f"nested deeper than {MAX_DEPTH} levels"):
        decode(b"[" * depth + b"]" * depth)


def test_the_deepest_that_is_allowed_is_decoded() -> None:
    decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    decode(b"[" + b"[]," * 500 + b"[]]")  # wide is not deep


def test_values_are_counted_before_they_are_made() -> None:
    with pytest.raises(WrongJson, match=f"more than {MAX_VALUES} values"):
        decode(b"[" + b"0," * MAX_VALUES + b"0]")


@given(VALUES)
def test_no_value_is_missed_by_the_count(value: object) -> None:
    def count(each: object) -> int:
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        return 1 + sum(map(count, inner))

    assert values_in(json.dumps(value).encode()) >= count(value)

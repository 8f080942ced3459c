"""Identifiers have SwarmKit's form, whatever their bits."""

import random

import pytest

from common.ids import ID_LENGTH, new_id, to_base36


@pytest.mark.parametrize(("number", "width", "text"), [(0, 3, "000"), (35, 1, "z"), (36, 2, "10"), (36, 4, "0010")])
def test_numbers_are_padded_to_their_width(number: int, width: int, text: str) -> None:
    assert to_base36(number, width) == text


def test_the_largest_number_fits_and_reads_back() -> None:
    text = to_base36(2**128 - 1, ID_LENGTH)
    assert len(text) == ID_LENGTH
    assert int(text, 36) == 2**128 - 1


def test_ids_of_one_seed_are_the_same_and_each_is_new() -> None:
    one, other = random.Random(1), random.Random(1)
    first = [new_id(one) for _ in range(100)]
    assert first == [new_id(other) for _ in range(100)]
    assert len(set(first)) == 100
    assert {len(each) for each in first} == {ID_LENGTH}

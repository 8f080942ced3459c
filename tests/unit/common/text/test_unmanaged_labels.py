"""Reservations in labels: numbers, or nothing."""

import pytest

from common.text.unmanaged_labels import CPUS_LABEL, MEMORY_LABEL, amount_of_label


def test_each_label_has_its_amount() -> None:
    labels = {CPUS_LABEL: "1500000000", MEMORY_LABEL: "0"}
    assert amount_of_label(labels, CPUS_LABEL) == 1_500_000_000
    assert amount_of_label(labels, MEMORY_LABEL) == 0
    assert amount_of_label({}, CPUS_LABEL) == 0


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e9", " 1", "٣", "9" * 20])
def test_what_is_not_an_amount_reserves_nothing(text: str) -> None:
    assert amount_of_label({CPUS_LABEL: text}, CPUS_LABEL) == 0

"""What a sender may send is what it has announced, each path once a pass."""

from __future__ import annotations

import pytest

from common.errors import ProtocolError, ResourceExhausted
from worker.volumes.copy.allowance import FACTOR, MOST_PASSES, SLACK, Allowance


def test_each_pass_goes_through_paths_in_order() -> None:
    allowance = Allowance()
    for number in (1, 2):
        allowance.begin(number, 0)
        for path in (b"", b"a", b"a\0b", b"b"):
            allowance.go_to(path)


def test_what_was_there_may_be_removed_before_something_new() -> None:
    allowance = Allowance()
    allowance.begin(1, 0)
    allowance.go_to(b"a", removing=True)
    allowance.go_to(b"a")
    with pytest.raises(ProtocolError, match="out of order"):
        allowance.go_to(b"a", removing=True)


def test_what_the_target_has_may_come_again_in_each_pass() -> None:
    allowance = Allowance()
    allowance.has(1000)
    for number in (1, 2, 3):
        allowance.begin(number, 500)
        allowance.spend(FACTOR * (1000 + 500 * number) + SLACK)
    with pytest.raises(ResourceExhausted, match="far more than it has announced"):
        allowance.spend(1)


@pytest.mark.parametrize("room", [-(2**63), 2**63])
def test_an_announcement_is_a_number(room: int) -> None:
    allowance = Allowance()
    allowance.begin(1, room)
    allowance.spend(SLACK)


@pytest.mark.parametrize("number", [0, 2, -1])
def test_passes_are_counted(number: int) -> None:
    with pytest.raises(ProtocolError, match="passes"):
        Allowance().begin(number, 0)


def test_passes_have_an_end() -> None:
    allowance = Allowance()
    for number in range(1, MOST_PASSES + 1):
        allowance.begin(number, 0)
    with pytest.raises(ProtocolError, match="passes"):
        allowance.begin(MOST_PASSES + 1, 0)

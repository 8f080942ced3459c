"""Who is too slow to send or take an image."""

import pytest

from worker.images.fetch import ThroughputCheck, TooSlow


def test_a_peer_that_moves_enough_goes_on_for_ever() -> None:
    check = ThroughputCheck(window=10, least=1000)
    for _ in range(1000):
        check.moved(1000, 1.0)


def test_what_is_not_waited_for_does_not_count() -> None:
    check = ThroughputCheck(window=10, least=1000)
    for _ in range(1000):
        check.moved(1, 0.0)


def test_one_that_trickles_is_told_after_the_window() -> None:
    check = ThroughputCheck(window=10, least=1000)
    for _ in range(9):
        check.moved(1, 1.0)
    with pytest.raises(TooSlow, match="only 10 bytes in 10 s"):
        check.moved(1, 1.0)


def test_what_was_moved_long_ago_is_no_excuse() -> None:
    check = ThroughputCheck(window=10, least=1000)
    check.moved(10**9, 10.0)
    with pytest.raises(TooSlow):
        check.moved(1, 10.0)

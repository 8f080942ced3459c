import pytest

from manager.ca import ratelimit
from manager.ca.ratelimit import RateLimit


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.instant = 100.0

    def now(self) -> float:
        return self.instant


def test_a_burst_then_one_a_period_and_never_more_than_the_burst() -> None:
    clock = Hands()
    limit = RateLimit(burst=3, period=2.0, clock=clock)
    assert [limit.allow("a") for _ in range(5)] == [True, True, True, False, False]
    clock.instant += 1.9
    assert not limit.allow("a")
    clock.instant += 0.2
    assert [limit.allow("a") for _ in range(2)] == [True, False]
    clock.instant += 1000
    assert [limit.allow("a") for _ in range(4)] == [True, True, True, False]


def test_addresses_do_not_share_a_bucket_and_a_good_attempt_is_given_back() -> None:
    limit = RateLimit(burst=1, period=10.0, clock=Hands())
    assert limit.allow("a")
    assert limit.allow("b")
    assert not limit.allow("a")
    limit.refund("b")
    assert limit.allow("b")


def test_a_clock_set_back_gives_nothing_away() -> None:
    clock = Hands()
    limit = RateLimit(burst=1, period=1.0, clock=clock)
    assert limit.allow("a")
    clock.instant -= 50
    assert not limit.allow("a")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "_MAX_ADDRESSES", 10)
    limit = RateLimit(burst=1, period=1.0, clock=Hands())
    for number in range(1000):
        limit.allow(f"10.0.0.{number}")
    assert len(limit._buckets) == 10

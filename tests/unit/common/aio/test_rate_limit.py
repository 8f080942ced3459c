import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.aio import rate_limit
from common.aio.rate_limit import Rate, RateLimit, TokenBucket

amounts = st.floats(0.0, 1e6, allow_nan=False)
pauses = st.floats(0.0, 1e5, allow_nan=False)


def test_a_burst_then_one_a_period_and_never_more_than_the_burst() -> None:
    limit = RateLimit(Rate(burst=3, per_second=0.5))
    assert [limit.allow("a", 100.0) for _ in range(5)] == [True, True, True, False, False]
    assert not limit.allow("a", 101.9)
    assert [limit.allow("a", 102.1) for _ in range(2)] == [True, False]
    assert [limit.allow("a", 1102.1) for _ in range(4)] == [True, True, True, False]


def test_keys_have_own_buckets_and_good_attempts_are_refunded() -> None:
    limit = RateLimit(Rate(burst=1, per_second=0.1))
    assert limit.allow("a", 1.0)
    assert limit.allow("b", 1.0)
    assert not limit.allow("a", 1.0)
    limit.refund("b")
    assert limit.allow("b", 1.0)


def test_a_clock_set_back_gives_nothing_away() -> None:
    limit = RateLimit(Rate(burst=1, per_second=1.0))
    assert limit.allow("a", 100.0)
    assert not limit.allow("a", 50.0)
    assert not limit.allow("a", 50.9)
    assert limit.allow("a", 51.1)


def test_memory_is_bounded_and_who_comes_often_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_MAX_KEYS", 10)
    limit = RateLimit(Rate(burst=1, per_second=0.001))
    assert limit.allow("often", 0.0)
    for number in range(1000):
        limit.allow(f"10.0.0.{number}", 0.0)
        assert not limit.allow("often", 0.0)
    assert len(limit._buckets) == 10


def test_a_debt_is_paid_off_with_time() -> None:
    bucket = TokenBucket(Rate(burst=10, per_second=2), 0.0)
    assert bucket.spend(10, 0.0) == 0.0
    assert bucket.spend(4, 0.0) == 2.0
    assert bucket.spend(0, 1.0) == 1.0
    assert bucket.left(2.0) == 0.0
    assert bucket.left(1000.0) == 10.0


@given(st.lists(st.tuples(pauses, amounts)))
def test_spending_without_debt_never_exceeds_burst_and_refill(steps: list[tuple[float, float]]) -> None:
    rate = Rate(burst=1000, per_second=3)
    bucket, now, spent = TokenBucket(rate, 0.0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if bucket.take(amount, now):
            spent += amount
        assert spent <= (rate.burst + now * rate.per_second) * (1 + 1e-9)
        assert 0.0 <= bucket.left(now) <= rate.burst


@given(st.lists(st.tuples(pauses, amounts), min_size=1))
def test_who_waits_as_long_as_told_is_out_of_debt(steps: list[tuple[float, float]]) -> None:
    bucket, now = TokenBucket(Rate(burst=1000, per_second=3), 0.0), 0.0
    for pause, amount in steps:
        now += pause + bucket.spend(amount, now + pause)
        assert bucket.left(now) >= -1e-6 * (1 + amount)


@given(st.lists(st.tuples(pauses, amounts)))
def test_half_the_rate_is_never_in_debt_despite_delays(
    steps: list[tuple[float, float]],
) -> None:
    """A sender that paces itself stays within its receiver's budget, though all of its last seconds come at once."""
    sender, receiver = TokenBucket(Rate(500, 1.5), 0.0), TokenBucket(Rate(1000, 3), 0.0)
    delay = 500 / 3
    now, batch, began = 0.0, 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if now - began > delay:
            assert receiver.spend(batch, began + delay) == 0.0
            batch, began = 0.0, now
        if sender.take(amount, now):
            batch += amount
    assert receiver.spend(batch, began + delay) == 0.0

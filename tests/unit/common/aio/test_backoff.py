import random

from common.aio.steady import Backoff


def test_delays_double_up_to_the_limit_with_jitter_and_reset() -> None:
    backoff = Backoff(0.5, 8.0, random.Random(3))
    for ceiling in (0.5, 1, 2, 4, 8, 8, 8):
        assert ceiling / 2 <= backoff.next() <= ceiling
    backoff.reset()
    assert backoff.next() <= 0.5


def test_a_thousand_workers_do_not_come_in_the_same_instant() -> None:
    delays = sorted(Backoff(1.0, 8.0, random.Random(seed)).next() for seed in range(1000))
    fullest = max(sum(1 for delay in delays if start <= delay < start + 0.05) for start in delays)
    assert fullest < 160

"""Instants as they are written, and waiting for one while the clock is set."""

import asyncio
import math

import pytest

from common.clock import CLOCK_CHECK_SECONDS, LAST_INSTANT, ZERO_TIME, LoopClock, rfc3339, sleep_until, to_the_second
from tests.fakes.virtual_loop import run_virtual

DAY = 86400.0


class SetClock(LoopClock):
    """A clock that somebody sets: `ahead` seconds are added."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


def test_a_sleeper_sees_that_the_clock_was_set() -> None:
    async def story(ahead: float) -> float:
        clock = SetClock()
        loop = asyncio.get_running_loop()
        loop.call_later(100.0, setattr, clock, "ahead", ahead)
        await sleep_until(clock.now() + 3 * DAY, clock)
        return loop.time()

    assert run_virtual(story(0.0)) == 3 * DAY
    assert run_virtual(story(2 * DAY)) == DAY
    assert 100.0 <= run_virtual(story(90 * DAY)) <= 100.0 + CLOCK_CHECK_SECONDS
    assert run_virtual(story(-DAY)) == 4 * DAY


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf, 1e300, -1.0, LAST_INSTANT + 1])
def test_what_is_not_an_instant_is_written_as_no_time(value: float) -> None:
    assert rfc3339(value) == ZERO_TIME


def test_people_are_told_instants_to_the_second() -> None:
    assert to_the_second(1700000000.75) == "2023-11-14T22:13:20Z"
    assert to_the_second(0.0) == "0001-01-01T00:00:00Z"


def test_instants_are_written_as_docker_writes_them() -> None:
    assert rfc3339(1_700_000_000.25) == "2023-11-14T22:13:20.250000Z"
    assert rfc3339(LAST_INSTANT) == "9999-12-31T23:59:59.000000Z"

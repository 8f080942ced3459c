"""Waiting for an instant while the clock is set."""

import asyncio

from common.clock import CLOCK_CHECK_SECONDS, LoopClock, sleep_until
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

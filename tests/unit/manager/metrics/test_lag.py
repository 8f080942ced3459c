"""How late the event loop's timers are."""

import asyncio
import time

from manager.metrics.lag import EVERY_SECONDS, measure_lag
from tests.fakes.virtual_loop import run_virtual


def test_a_loop_that_is_never_held_is_never_late() -> None:
    late: list[float] = []

    async def story() -> None:
        measuring = asyncio.ensure_future(measure_lag(late.append))
        await asyncio.sleep(10 * EVERY_SECONDS + EVERY_SECONDS / 2)
        measuring.cancel()

    run_virtual(story())
    assert len(late) == 10
    assert max(late) < 1e-6


async def test_what_holds_the_loop_shows() -> None:
    late: list[float] = []
    heard = asyncio.Event()

    def lagged(seconds: float) -> None:
        late.append(seconds)
        heard.set()

    measuring = asyncio.ensure_future(measure_lag(lagged))
    await asyncio.sleep(0)
    time.sleep(3 * EVERY_SECONDS)
    await heard.wait()
    measuring.cancel()
    assert late[0] > EVERY_SECONDS

"""How many containers are started and stopped at once, in virtual time."""

import asyncio

from tests.fakes.virtual_loop import run_virtual
from worker.engine.call_limiter import QUICK_STOP_SECONDS, EngineCallLimiter


async def ends_of_stops(*durations: float, limiter: EngineCallLimiter | None = None) -> list[float]:
    """Stop what takes so long each, through two places; return after how many seconds each was done."""
    limiter, loop = limiter or EngineCallLimiter(2), asyncio.get_running_loop()
    began = loop.time()

    async def one(seconds: float) -> float:
        async with limiter.stop():
            await asyncio.sleep(seconds)
        return round(loop.time() - began, 3)

    return await asyncio.gather(*map(one, durations))


def test_quick_stops_take_turns():
    assert run_virtual(ends_of_stops(0.5, 0.5, 0.5, 0.5, 0.5)) == [0.5, 0.5, 1.0, 1.0, 1.5]


def test_one_that_does_not_heed_its_signal_keeps_nobody_waiting():
    late = 10 + QUICK_STOP_SECONDS
    assert run_virtual(ends_of_stops(10, 10, 10, 10, 0.2)) == [10, 10, late, late, 0.2 + QUICK_STOP_SECONDS]


def test_after_slow_ones_stops_take_turns_again():
    async def scenario() -> list[float]:
        limiter = EngineCallLimiter(1)
        await ends_of_stops(5, limiter=limiter)
        return await ends_of_stops(0.5, 0.5, limiter=limiter)

    assert run_virtual(scenario()) == [0.5, 1.0]


def test_a_stop_that_is_given_up_frees_its_place():
    async def scenario() -> list[float]:
        limiter = EngineCallLimiter(1)
        for patience in (0.5, 3):  # once while it is quick, once when it is slow
            stopping = asyncio.ensure_future(ends_of_stops(10, limiter=limiter))
            await asyncio.wait({stopping}, timeout=patience)
            stopping.cancel()
            await asyncio.wait({stopping})
        return await ends_of_stops(0.5, 0.5, limiter=limiter)

    assert run_virtual(scenario()) == [0.5, 1.0]


def test_starts_do_not_hold_up_stops():
    async def scenario() -> list[float]:
        limiter = EngineCallLimiter(1)
        async with limiter.change():
            return await ends_of_stops(0.5, limiter=limiter)

    assert run_virtual(scenario()) == [0.5]


def test_changes_that_are_stuck_leave_their_places_to_others():
    async def scenario() -> list[float]:
        limiter, loop = EngineCallLimiter(2), asyncio.get_running_loop()
        stuck = [asyncio.ensure_future(change(limiter, 180)) for _ in range(6)]
        await asyncio.sleep(0)
        done = await change(limiter, 0.5)
        assert not any(each.done() for each in stuck)
        await asyncio.wait(stuck)
        return [done, loop.time(), await change(limiter, 0.5)]

    # Two are stuck for 15 s, the two after them for 1 s, then two more; those take longest of all.
    assert run_virtual(scenario()) == [17.5, 196.0, 196.5]


async def change(limiter: EngineCallLimiter, seconds: float) -> float:
    """Change something for so long; return when that was done."""
    async with limiter.change():
        await asyncio.sleep(seconds)
    return round(asyncio.get_running_loop().time(), 3)

"""How many containers are started and stopped at once, in virtual time."""

import asyncio

from tests.fakes.virtual_loop import run_virtual
from worker.engine.call_limiter import QUICK_STOP_SECONDS, EngineCallLimiter


async def ends_of_stops(*durations: float, gate: EngineCallLimiter | None = None) -> list[float]:
    """Stop what takes so long each, through two places; return after how many seconds each was done."""
    gate, loop = gate or EngineCallLimiter(2), asyncio.get_running_loop()
    began = loop.time()

    async def one(seconds: float) -> float:
        async with gate.stop():
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
        gate = EngineCallLimiter(1)
        await ends_of_stops(5, gate=gate)
        return await ends_of_stops(0.5, 0.5, gate=gate)

    assert run_virtual(scenario()) == [0.5, 1.0]


def test_a_stop_that_is_given_up_frees_its_place():
    async def scenario() -> list[float]:
        gate = EngineCallLimiter(1)
        for patience in (0.5, 3):  # once while it is quick, once when it is slow
            stopping = asyncio.ensure_future(ends_of_stops(10, gate=gate))
            await asyncio.wait({stopping}, timeout=patience)
            stopping.cancel()
            await asyncio.wait({stopping})
        return await ends_of_stops(0.5, 0.5, gate=gate)

    assert run_virtual(scenario()) == [0.5, 1.0]


def test_starts_do_not_hold_up_stops():
    async def scenario() -> list[float]:
        gate = EngineCallLimiter(1)
        async with gate.change():
            return await ends_of_stops(0.5, gate=gate)

    assert run_virtual(scenario()) == [0.5]


def test_changes_that_are_stuck_leave_their_places_to_others():
    async def scenario() -> list[float]:
        gate, loop = EngineCallLimiter(2), asyncio.get_running_loop()
        stuck = [asyncio.ensure_future(change(gate, 180)) for _ in range(6)]
        await asyncio.sleep(0)
        done = await change(gate, 0.5)
        assert not any(each.done() for each in stuck)
        await asyncio.wait(stuck)
        return [done, loop.time(), await change(gate, 0.5)]

    # Two are stuck for 15 s, the two after them for 1 s, then two more; those take longest of all.
    assert run_virtual(scenario()) == [17.5, 196.0, 196.5]


async def change(gate: EngineCallLimiter, seconds: float) -> float:
    """Change something for so long; return when that was done."""
    async with gate.change():
        await asyncio.sleep(seconds)
    return round(asyncio.get_running_loop().time(), 3)

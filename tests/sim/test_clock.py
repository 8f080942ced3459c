"""The virtual clock itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.sim import clock


def test_hours_pass_at_once_and_in_order() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def wake(name: str, after: float) -> None:
            await asyncio.sleep(after)
            seen.append(name)

        started = asyncio.get_running_loop().time()
        await asyncio.gather(wake("day", 86_400), wake("hour", 3_600), wake("second", 1))
        assert asyncio.get_running_loop().time() - started == 86_400
        return seen

    began = time.monotonic()
    assert clock.run(main()) == ["second", "hour", "day"]
    assert time.monotonic() - began < 5


def test_a_livelock_is_an_error() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(clock.Livelock):
        clock.run(main())


def test_a_deadlock_is_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(clock.Deadlock):
        clock.run(main())

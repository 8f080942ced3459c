"""Of several waits the first ends it, and the others are given up."""

import asyncio

import pytest

from common.aio.first import first_of
from tests.fakes.virtual_loop import run_virtual


def test_the_others_are_given_up() -> None:
    ended: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            ended.append(f"{name} given up")
            raise
        ended.append(name)

    async def story() -> float:
        await first_of(wait("long", 9.0), wait("short", 2.0))
        await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run_virtual(story()) == pytest.approx(2.0)
    assert ended == ["short", "long given up"]


def test_nobody_waits_longer_than_asked_for() -> None:
    async def story() -> float:
        await first_of(asyncio.Event().wait(), within=5.0)
        return asyncio.get_running_loop().time()

    assert run_virtual(story()) == pytest.approx(5.0)


def test_who_is_given_up_gives_up_all() -> None:
    async def story() -> bool:
        inner = asyncio.Event()

        async def wait() -> None:
            try:
                await asyncio.sleep(9.0)
            finally:
                inner.set()

        outer = asyncio.create_task(first_of(wait()))
        await asyncio.sleep(1.0)
        outer.cancel()
        await asyncio.wait([outer])
        await inner.wait()
        return outer.cancelled()

    assert run_virtual(story())

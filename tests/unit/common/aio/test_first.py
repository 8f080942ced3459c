"""Waiting for the first of several things: the others are given up, and what the first raised is raised."""

from __future__ import annotations

import asyncio

import pytest

from common.aio.first import first_of


async def test_the_others_are_given_up() -> None:
    given_up = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    await first_of(waits(), asyncio.sleep(0.001))
    await given_up.wait()


async def test_after_a_while_nothing_is_waited_for() -> None:
    await first_of(asyncio.Event().wait(), within=0.001)


async def test_what_the_first_raises_is_raised() -> None:
    async def fails() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await first_of(asyncio.Event().wait(), fails())

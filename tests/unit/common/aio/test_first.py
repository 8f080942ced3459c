"""Waiting for the first of several things, and trying several, in virtual time where it matters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.aio.first import STAGGER_SECONDS, Success, first_of, first_success
from common.errors import Unavailable
from tests.fakes.virtual_loop import run_virtual


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


async def try_all(outcomes: dict[str, tuple[float, object]], **how: Any) -> object:
    """Try each after so many seconds: an exception is raised, anything else returned."""

    async def attempt(name: str) -> object:
        seconds, outcome = outcomes[name]
        await asyncio.sleep(seconds)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return await first_success(outcomes, attempt, **how)


def test_one_that_hangs_holds_up_the_next_for_the_stagger_alone() -> None:
    async def story() -> None:
        found = await try_all({"hangs": (600.0, 1), "slow": (600.0, 2), "quick": (0.01, 3)})
        assert found == Success("quick", 3)
        assert asyncio.get_running_loop().time() == pytest.approx(2 * STAGGER_SECONDS + 0.01)

    run_virtual(story())


def test_one_that_fails_at_once_holds_nobody_up() -> None:
    async def story() -> None:
        assert await try_all({"gone": (0.0, Unavailable("no")), "well": (0.01, 1)}) == Success("well", 1)
        assert asyncio.get_running_loop().time() == pytest.approx(0.01)

    run_virtual(story())


def test_when_none_succeeds_each_ones_error_is_told() -> None:
    first, second = Unavailable("one"), Unavailable("two")
    assert run_virtual(try_all({"a": (1.0, first), "b": (0.0, second)})) == {"a": first, "b": second}


def test_a_result_that_comes_too_late_is_given_back() -> None:
    returned = []

    async def give_back(result: object) -> None:
        returned.append(result)

    async def story() -> object:
        both_at_once: dict[str, tuple[float, object]] = {"a": (STAGGER_SECONDS, "of a"), "b": (0.0, "of b")}
        return await try_all(both_at_once, give_back=give_back)

    found = run_virtual(story())
    assert isinstance(found, Success)
    assert returned == [{"a": "of b", "b": "of a"}[found.candidate]]


def test_a_bug_in_an_attempt_is_raised() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run_virtual(try_all({"a": (0.0, RuntimeError("a bug")), "b": (0.0, 1)}))

"""Who is silent for long is asked; who does not answer in time is gone."""

import asyncio

import pytest

from common.aio.pulse import Pulse
from tests.fakes.virtual_loop import run_virtual


def test_nobody_is_asked_while_words_come() -> None:
    asked = []

    async def story() -> None:
        async def ask() -> None:
            asked.append(asyncio.get_running_loop().time())

        pulse = Pulse(ask, silence=10.0, patience=2.0)
        pulse.heard()
        watching = asyncio.ensure_future(pulse.stopped())
        for _ in range(5):
            await asyncio.sleep(5.0)
            pulse.heard()
        assert not asked
        await asyncio.sleep(10.5)
        assert len(asked) == 1  # and its answer counts as a word
        await asyncio.sleep(9.0)
        assert len(asked) == 1
        watching.cancel()

    run_virtual(story())


def test_a_question_without_an_answer_ends_it() -> None:
    async def story() -> float:
        pulse = Pulse(asyncio.Event().wait, silence=10.0, patience=2.0)  # type: ignore[arg-type]
        pulse.heard()
        began = asyncio.get_running_loop().time()
        await pulse.stopped()
        return asyncio.get_running_loop().time() - began

    assert run_virtual(story()) == pytest.approx(12.0)


def test_what_a_question_raises_is_raised() -> None:
    async def refuse() -> None:
        raise ConnectionError("gone")

    async def story() -> None:
        with pytest.raises(ConnectionError, match="gone"):
            await Pulse(refuse, silence=1.0, patience=1.0).stopped()

    run_virtual(story())

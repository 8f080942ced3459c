"""A loop that meets a bug begins anew, and is heard of."""

import asyncio

import pytest

from common.aio.steady import PAUSE_SECONDS, contain_errors, keep_going
from tests.fakes.virtual_loop import run_virtual


def test_a_loop_that_a_bug_ended_begins_anew_after_a_pause(caplog: pytest.LogCaptureFixture) -> None:
    begun: list[float] = []

    async def loop() -> None:
        begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        if len(begun) < 3:
            raise RuntimeError("a bug")

    run_virtual(keep_going("the test", loop))
    assert begun == [0, 1 + PAUSE_SECONDS, 2 + 2 * PAUSE_SECONDS]
    assert [record.message.split(":")[0] for record in caplog.records] == ["a bug ended the test"] * 2
    assert "RuntimeError: a bug" in caplog.text


def test_it_ends_when_it_is_cancelled() -> None:
    async def story() -> None:
        task = asyncio.create_task(keep_going("the test", asyncio.Event().wait))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(story())


async def test_work_for_one_that_meets_a_bug_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("a bug")

    await contain_errors(fail(), "the work for one")
    assert caplog.records[0].message == "a bug ended the work for one"
    assert "RuntimeError: a bug" in caplog.text

"""A loop that meets a bug begins anew, and is heard of."""

import asyncio

import pytest

from common.aio.steady import PAUSE_SECONDS, Rounds, contain_errors, in_pieces, keep_going
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


class Work:
    """Takes a second; `began` has when each round did."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.fails = False

    async def __call__(self) -> None:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        if self.fails:
            raise ValueError("no")


def test_each_is_served_by_a_round_that_began_after_it_asked() -> None:
    async def scenario() -> list[float]:
        work = Work()
        rounds = Rounds(work, 0.1)

        async def ask(after: float) -> float:
            await asyncio.sleep(after)
            await rounds.served()
            return round(asyncio.get_running_loop().time(), 3)

        done = await asyncio.gather(*map(ask, (0, 0.05, 0.2, 0.25, 5)))
        assert [round(each, 3) for each in work.began] == [0.1, 0.3, 5.1]
        return done

    assert run_virtual(scenario()) == [1.1, 1.1, 1.3, 1.3, 6.1]


def test_an_error_reaches_all_callers_and_one_may_be_cancelled() -> None:
    async def scenario() -> None:
        work = Work()
        rounds = Rounds(work, 0.1)
        impatient, patient = (asyncio.create_task(rounds.served()) for _ in range(2))
        await asyncio.sleep(0.5)
        impatient.cancel()
        await patient
        assert impatient.cancelled()
        work.fails = True
        results = await asyncio.gather(rounds.served(), rounds.served(), return_exceptions=True)
        assert [str(each) for each in results] == ["no", "no"]
        work.fails = False
        await rounds.served()

    run_virtual(scenario())


def test_nothing_is_done_for_nobody() -> None:
    async def scenario() -> None:
        work = Work()
        Rounds(work, 0.1)
        await asyncio.sleep(5)
        assert not work.began

    run_virtual(scenario())


async def test_others_have_their_turn_between_pieces() -> None:
    taken: list[int | str] = []

    async def take() -> None:
        taken.extend([value async for value in in_pieces([1, 2, 3, 4, 5], 2)])

    taking = asyncio.create_task(take())
    while not taking.done():
        taken.append("other")
        await asyncio.sleep(0)
    assert taken == ["other"] * 3 + [1, 2, 3, 4, 5]

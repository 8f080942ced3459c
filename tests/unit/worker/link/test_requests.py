"""What a worker asks is asked again until it is answered; hints are not."""

import asyncio

import pytest

from common.wire.image_messages import FetchImage, ImageHeld, ImageSources, Spared, SpareImages
from common.wire.membership_messages import AllApplied, AwaitApplied
from tests.fakes.virtual_loop import run_virtual
from worker.link.requests import ALL_APPLIED_SECONDS, Requests

FETCH = FetchImage(image_id="sha256:a")


async def test_an_answer_finds_its_question() -> None:
    requests = Requests()
    asking = asyncio.ensure_future(requests.sources(FETCH))
    answer = asyncio.ensure_future(requests.spared(SpareImages(image_ids=("x",))))
    await asyncio.sleep(0)
    (one, first), (two, second) = await requests.take(), await requests.take()
    assert first == FETCH
    assert isinstance(second, SpareImages)
    requests.answered(two, Spared(image_ids=("x",)))
    requests.answered(one, ImageSources())
    assert (await answer).image_ids == ("x",)
    assert await asking == ImageSources()


async def test_a_broken_session_has_it_asked_again() -> None:
    requests = Requests()
    asking = asyncio.ensure_future(requests.sources(FETCH))
    number, _ = await requests.take()
    requests.lost()
    assert await requests.take() == (number, FETCH)
    requests.answered(number, ImageSources())
    await asking
    requests.lost()
    again = asyncio.ensure_future(requests.take())
    await asyncio.sleep(0)
    assert not again.done(), "an answered question is asked no more"
    again.cancel()


async def test_who_waits_no_more_asks_no_more() -> None:
    requests = Requests()
    asking = asyncio.ensure_future(requests.sources(FETCH))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    taking = asyncio.ensure_future(requests.take())
    await asyncio.sleep(0)
    assert not taking.done()
    requests.answered(1, ImageSources())  # late, and dropped
    taking.cancel()


async def test_news_of_an_image_is_a_hint_for_one_session() -> None:
    requests = Requests()
    requests.held("sha256:a")
    assert await requests.take() == (0, ImageHeld(image_id="sha256:a"))
    requests.held("sha256:b")
    requests.lost()
    requests.held("sha256:c")
    assert await requests.take() == (0, ImageHeld(image_id="sha256:c"))


def test_many_that_wait_for_all_nodes_are_one_question() -> None:
    async def story() -> None:
        requests = Requests()
        waiting = [asyncio.ensure_future(requests.all_applied()) for _ in range(5)]
        number, question = await requests.take()
        assert isinstance(question, AwaitApplied)
        requests.answered(number, AllApplied())
        await asyncio.gather(*waiting)

    run_virtual(story())


def test_nobody_waits_for_a_manager_for_ever() -> None:
    async def story() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await Requests().all_applied()
        return asyncio.get_running_loop().time() - began

    assert run_virtual(story()) == pytest.approx(ALL_APPLIED_SECONDS, abs=0.1)

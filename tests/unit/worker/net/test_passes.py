"""Who waits for a pass, and what wakes them."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.fakes.virtual_loop import run_virtual
from worker.net.passes import COALESCE_SECONDS, Passes


def story(tell: Callable[[Passes], Awaitable[None]]) -> None:
    async def run() -> None:
        await tell(Passes())

    run_virtual(run())


def test_notes_that_follow_each_other_closely_are_one_pass():
    async def tell(passes: Passes) -> None:
        passes.note()
        beginning = asyncio.create_task(passes.begin())
        await asyncio.sleep(COALESCE_SECONDS / 2)
        passes.note()
        assert await beginning == 2
        waiting = asyncio.create_task(passes.begin())
        await asyncio.sleep(1)
        assert not waiting.done()
        passes.note()
        assert await waiting == 3

    story(tell)


def test_rules_can_be_written_in_a_pass_that_fails():
    async def tell(passes: Passes) -> None:
        passes.note()
        ruled, in_line = asyncio.create_task(passes.ruled()), asyncio.create_task(passes.in_line())
        await passes.end(await passes.begin(), settled=False, ruled=True)
        await ruled
        assert not in_line.done()
        assert not passes.up_to_date
        passes.again_in(1.0)
        await passes.end(await passes.begin(), settled=True, ruled=False)
        await in_line
        assert passes.up_to_date

    story(tell)


def test_what_is_noted_during_a_pass_is_not_done_by_it():
    async def tell(passes: Passes) -> None:
        passes.note()
        number = await passes.begin()
        passes.note()
        waiting = asyncio.create_task(passes.in_line())
        await asyncio.sleep(0)
        await passes.end(number, settled=True, ruled=True)
        assert not waiting.done()
        await passes.end(await passes.begin(), settled=True, ruled=True)
        await waiting

    story(tell)

"""Does the world in which evil is tried work, when nobody is evil?"""

import asyncio

import pytest

from common.wire.channel import ChannelClosed, PeerInfo, open_raw
from tests.fakes.virtual_loop import run_virtual
from tests.hostile.lines import MemoryLine, socketed_pair
from tests.hostile.simulated.test_cases import attacked
from tests.hostile.world import hostile_world
from worker.intake.addresses import port


async def _a_usual_life() -> None:
    async with hostile_world() as world:
        await world.network("blue")
        await world.service("web", networks=("blue",), publish={8080: 80})
        mallory = await world.evil()
        await mallory.hello()
        task = await mallory.task_of("web")
        before = world.honest_plans()
        assert before["alice"].ports == {port("tcp", 8080, "")}
        await world.quiet()
        await mallory.reports(task, addresses={})
        await world.quiet()
        assert not world.disturbed(before)
        await world.probe()
        world.honest_are_well()


def test_a_usual_life() -> None:
    run_virtual(_a_usual_life())


async def _nobody_attacks() -> None:
    async with attacked() as (_, mallory):
        await mallory.task_of("web")


def test_the_frame_of_the_attacks_holds_when_there_is_none() -> None:
    run_virtual(_nobody_attacks())


async def _an_end_that_is_closed_before_it_is_bare() -> None:
    """As of a stream that the evil node serves before the manager has refused it."""
    near, far = socketed_pair(PeerInfo())
    reader, writer = MemoryLine(near).bare()
    await far.close("nobody asked for it")
    async with asyncio.timeout(1.0):
        assert await reader.read() == b""
    with pytest.raises(ChannelClosed):
        open_raw(far)
    writer.close()
    await writer.wait_closed()
    await near.close()


def test_a_stream_that_one_end_refuses_ends_at_the_other() -> None:
    run_virtual(_an_end_that_is_closed_before_it_is_bare())

"""A worker says at most half of what a manager lets it say."""

import asyncio

from common.wire.allowances import MESSAGES, weight
from common.wire.memory import memory_channel_pair
from common.wire.messages import Heartbeat, Resync
from tests.fakes.virtual_loop import run_virtual
from worker.link.conversation import PacedSender


def test_a_burst_goes_at_once_and_what_follows_waits() -> None:
    async def story() -> tuple[float, float]:
        near, _ = memory_channel_pair()
        sender = PacedSender()
        clock = asyncio.get_running_loop().time
        burst = int(MESSAGES.burst / 2 / weight(Resync()))
        for _ in range(burst):
            await sender.send(near, Resync())
        at_once = clock()
        for _ in range(10):
            await sender.send(near, Resync())
        return at_once, clock()

    at_once, later = run_virtual(story())
    assert at_once < 0.01
    assert later >= 9 * weight(Resync()) / (MESSAGES.per_second / 2)


def test_the_number_goes_along() -> None:
    async def story() -> int:
        near, far = memory_channel_pair()
        await PacedSender().send(near, Heartbeat(), 7)
        return (await far.receive()).id

    assert run_virtual(story()) == 7

"""How fast this worker speaks: at most half of what a manager lets it say, so that it is never slowed or ended."""

from __future__ import annotations

import asyncio

from common.aio.rate_limit import Rate, TokenBucket
from common.wire.allowances import BYTES, MESSAGES, size_of, weight
from common.wire.channel import Channel
from common.wire.messages import AnyMessage

_FRAME_BYTES = 16


class Pace:
    """Sends messages one after another, and each no sooner than it may be. It outlives sessions, as the budget does."""

    def __init__(self) -> None:
        now = asyncio.get_running_loop().time()
        self._bytes = TokenBucket(_half(BYTES), now)
        self._messages = TokenBucket(_half(MESSAGES), now)

    async def send(self, channel: Channel, message: AnyMessage, number: int = 0) -> None:
        """Wait until it is time, and send; errors as `Channel.send`."""
        now = asyncio.get_running_loop().time()
        waits = (
            self._bytes.spend(size_of(message) + _FRAME_BYTES, now),
            self._messages.spend(weight(message), now),
        )
        if any(waits):
            await asyncio.sleep(max(waits))
        await channel.send(message, number)


def _half(rate: Rate) -> Rate:
    return Rate(rate.burst / 2, rate.per_second / 2)

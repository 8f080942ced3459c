"""The manager's side of one volume's copy: the streams to the two workers, and the protocol on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from common.errors import FailedPrecondition, Unavailable
from common.wire.channel import splice
from common.wire.volume_copy import CONTROL, DATA, CopyCommand, CopyControl, CopyEvent, Ends, Order, WorkerLost, begin
from manager.domain.transfers import Gauge
from manager.loops.progress_timeout import ProgressTimeout

OpenStream: TypeAlias = Callable[[str, str], Awaitable[Ends]]

# When one half fails, the other may say why within so many seconds.
WORD_SECONDS = 2.0
# A sender makes at most five passes before it says that the last one is due, whatever is left.
MOST_PASSES = 20


class Place(NamedTuple):
    """A node that has a half of a copy."""

    node_id: str
    name: str


@contextlib.asynccontextmanager
async def copying(
    open_stream: OpenStream, source: Place, target: Place, order: Order, pace: ProgressTimeout
) -> AsyncIterator[Copy]:
    """Start to copy a volume from node to node. `order` is the sender's; its `as_` fields name the receiver's volume.

    Within a node one worker has both halves.
    """
    pace.enter("begin")
    async with AsyncExitStack() as stack:

        async def opened(place: Place, stream: str, like: Order) -> Ends:
            reader, writer = await open_stream(place.node_id, stream)
            stack.callback(writer.close)
            return begin((reader, writer), like)

        async def control(place: Place, like: Order) -> CopyControl:
            return CopyControl(*await opened(place, CONTROL, like), place.name)

        if source == target:
            both = await control(source, replace(order, part="clone"))
            await both.wait_for("prepared")
            await both.wait_for("ready")
            yield Copy(order.as_volume, order.generation, both, None, pace)
            return
        come = replace(order, part="receive", volume=order.as_volume, data_id=order.as_data_id)
        orders = ((source, order), (target, come))
        sender, receiver = [await control(place, like) for place, like in orders]
        for half in (sender, receiver):
            await half.wait_for("prepared")
        data = [await opened(place, DATA, like) for place, like in orders]
        pace.enter("compare")
        pace.watch(data[1][1])
        joined = asyncio.create_task(splice(data[0], data[1], pace.count_bytes))
        stack.push_async_callback(_end, joined)
        await sender.wait_for("ready")
        yield Copy(order.volume, order.generation, sender, receiver, pace)


@dataclass(slots=True)
class Copy:
    """The copy of one volume, its halves ready; `receiver` is None where the sender's worker has both."""

    name: str
    generation: int
    sender: CopyControl
    receiver: CopyControl | None
    pace: ProgressTimeout

    async def settle(self, gauge: Gauge) -> float:
        """Run passes until the last one is due; return its estimated duration in seconds.

        Raises:
            FailedPrecondition: the passes do not come to an end.

        """
        self.pace.enter("pass")
        for _ in range(MOST_PASSES):
            self.sender.tell(CopyCommand(do="pass"))
            passed = await self._passed(gauge)
            self.pace.renew()
            gauge.passes += 1
            if passed.next != "pass":
                return passed.rest
        raise FailedPrecondition(f"the copy of volume {self.name} does not come to an end: {MOST_PASSES} passes")

    async def finish(self, gauge: Gauge, *, hold: bool = False) -> float:
        """Run the last pass, and mark the target as the newest; return for how many seconds programs were paused.

        hold: programs that write to the volume are paused for it.
        """
        self.pace.enter("pass")
        self.sender.tell(CopyCommand(do="last", hold=hold))
        passed = await self._passed(gauge)
        if not passed.digest:
            raise FailedPrecondition(f"the copy of volume {self.name} was not compared")
        self.pace.enter("mark")
        taker = self.receiver or self.sender
        taker.tell(CopyCommand(do="mark", generation=self.generation + 1))
        await taker.wait_for("marked")
        return passed.held

    async def remove_source(self) -> None:
        """Have the target read back what it has written, then remove the source."""
        self.pace.enter("verify")
        self.sender.tell(CopyCommand(do="verify"))
        await self.sender.wait_for("verified")
        self.pace.enter("remove")
        self.sender.tell(CopyCommand(do="remove"))
        await self.sender.wait_for("removed")

    async def _passed(self, gauge: Gauge) -> CopyEvent:
        """Wait for the end of a pass; if either half fails meanwhile, raise the error that is nearest to the cause."""

        def note(event: CopyEvent) -> None:
            gauge.done, gauge.left, gauge.seconds = event.done, event.left, event.seconds

        if self.receiver is None:
            return await self.sender.wait_for("passed", tell=note)
        passing = asyncio.create_task(self.sender.wait_for("passed", tell=note))
        failing = asyncio.create_task(self.receiver.wait_for("failed"))  # raises its error
        try:
            await asyncio.wait({passing, failing}, return_when=asyncio.FIRST_COMPLETED)
            if not passing.done() or passing.exception() is not None:
                await asyncio.wait({passing, failing}, timeout=WORD_SECONDS)
                reasons = [job.exception() for job in (failing, passing) if job.done()]
                raise min(filter(None, reasons), key=_distance)
            return passing.result()
        finally:
            for job in (passing, failing):
                job.cancel()
            await asyncio.wait({passing, failing})

    def stop(self) -> None:
        for half in (self.sender, self.receiver):
            if half is not None:
                half.tell(CopyCommand(do="stop"))


def _distance(error: BaseException) -> int:
    """Rank what both halves failed with: a cause in one of them, a worker that is lost, that the other half is lost."""
    if isinstance(error, WorkerLost):
        return 1
    return 2 if isinstance(error, Unavailable) else 0


async def _end(job: asyncio.Task[None]) -> None:
    job.cancel()
    await asyncio.wait({job})

"""A worker's requests to its manager: each is kept until it is answered, over sessions that break."""

from __future__ import annotations

import asyncio
import itertools
from typing import TypeAlias

from common.aio.steady import Rounds
from common.wire.image_messages import FetchImage, ImageHeld, ImageSources, Spared, SpareImages
from common.wire.membership_messages import AllApplied, AwaitApplied

# A manager gives up earlier: after 10 s on nodes that do not come back when it begins to lead, and 2 s later on those
# that do not get on.
ALL_APPLIED_SECONDS = 13.0
# Where many tasks stop at once, one request is made for all.
GATHER_SECONDS = 0.010

Request: TypeAlias = FetchImage | SpareImages | AwaitApplied
Answer: TypeAlias = ImageSources | Spared | AllApplied


class Requests:
    """Requests, and news of images. A session takes them out and brings the answers."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Request, asyncio.Future[Answer]]] = {}
        self._unsent: dict[int, None] = {}
        self._news: dict[str, None] = {}
        self._changed = asyncio.Event()
        self._all_applied = Rounds(self._ask_all_applied, GATHER_SECONDS)

    async def sources(self, request: FetchImage) -> ImageSources:
        """Ask who has an image, and wait for the answer for as long as it takes: without a manager there is none."""
        answer = await self._ask(request)
        return answer if isinstance(answer, ImageSources) else ImageSources()

    async def spared(self, request: SpareImages) -> Spared:
        """Ask which images may go, and wait for the answer for as long as it takes."""
        answer = await self._ask(request)
        return answer if isinstance(answer, Spared) else Spared()

    async def all_applied(self) -> None:
        """Wait until every node has applied what the manager has decided.

        Raises:
            TimeoutError: no manager has said so in `ALL_APPLIED_SECONDS`.

        """
        await self._all_applied.served()

    async def _ask_all_applied(self) -> None:
        async with asyncio.timeout(ALL_APPLIED_SECONDS):
            await self._ask(AwaitApplied())

    async def _ask(self, request: Request) -> Answer:
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[number] = (request, answer)
        self._unsent[number] = None
        self._changed.set()
        try:
            return await answer
        finally:
            del self._open[number]
            self._unsent.pop(number, None)

    def held(self, image_id: str) -> None:
        """Tell the manager that this host has an image now; dropped without a session, as it is only a hint."""
        self._news[image_id] = None
        self._changed.set()

    # --- what a session calls -----------------------------------------------------------------------------------------

    async def take(self) -> tuple[int, Request | ImageHeld]:
        """Wait for the next thing to send, with its number (0: no answer is due)."""
        while True:
            for image_id in self._news:
                del self._news[image_id]
                return 0, ImageHeld(image_id=image_id)
            for number in self._unsent:
                del self._unsent[number]
                return number, self._open[number][0]
            self._changed.clear()
            await self._changed.wait()

    def answered(self, number: int, answer: Answer) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        found = self._open.get(number)
        if found is not None and not found[1].done():
            found[1].set_result(answer)

    def lost(self) -> None:
        """Ask again in the next session what this one did not answer."""
        self._news.clear()
        self._unsent = dict.fromkeys(self._open)
        self._changed.set()

"""What the manager asks one worker about images: each question has a number, which its answer carries."""

from __future__ import annotations

import asyncio
import itertools

from common.errors import NotFound
from common.wire.channel import Channel, ChannelClosed
from common.wire.image_messages import BringImage, Brought, ImageSeen, SeekImage


class ImageQuestions:
    """The questions of one session that wait for their answers."""

    def __init__(self, node_id: str, channel: Channel) -> None:
        self._node_id = node_id
        self._channel = channel
        self._open: dict[int, asyncio.Future[ImageSeen | Brought]] = {}
        self._numbers = itertools.count(1)

    async def seek(self, image_id: str) -> ImageSeen:
        """Ask the worker whether its engine has an image, by its id or the beginning of it.

        Raises:
            ChannelClosed: the connection is gone.

        """
        seen = await self._ask(SeekImage(reference=image_id))
        return seen if isinstance(seen, ImageSeen) else ImageSeen()

    async def bring(self, image_id: str) -> str:
        """Have the worker fetch an image; return what its engine knows it as.

        Raises:
            NotFound: it could not.
            ChannelClosed: the connection is gone.

        """
        brought = await self._ask(BringImage(image_id=image_id))
        assert isinstance(brought, Brought), "the answer to a BringImage"
        if brought.error:
            raise NotFound(brought.error)
        return brought.name or image_id

    async def _ask(self, question: SeekImage | BringImage) -> ImageSeen | Brought:
        number = next(self._numbers)
        answer: asyncio.Future[ImageSeen | Brought] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            await self._channel.send(question, number)
            await asyncio.wait([answer])
            if answer.cancelled():
                raise ChannelClosed(f"the session of node {self._node_id} has ended")
            return answer.result()
        finally:
            del self._open[number]

    def answered(self, number: int, answer: ImageSeen | Brought) -> None:
        """Take an answer; one that nobody waits for is dropped."""
        question = self._open.get(number)
        if question is not None and not question.done():
            question.set_result(answer)

    def close(self) -> None:
        """Let those who wait know that no answer will come."""
        for question in self._open.values():
            question.cancel()

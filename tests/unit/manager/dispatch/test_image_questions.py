"""Questions about images and the answers that carry their numbers."""

import asyncio

import pytest

from common.errors import NotFound
from common.wire.channel import ChannelClosed
from common.wire.image_messages import BringImage, Brought, ImageSeen, SeekImage
from common.wire.memory import memory_channel_pair
from manager.dispatch.image_questions import ImageQuestions


async def test_answers_find_their_questions_in_any_order() -> None:
    near, far = memory_channel_pair()
    questions = ImageQuestions("n1", near)
    seeking = asyncio.ensure_future(questions.seek("abc"))
    bringing = asyncio.ensure_future(questions.bring("def"))
    (one, seek), (two, bring) = await far.receive(), await far.receive()
    assert isinstance(seek, SeekImage)
    assert isinstance(bring, BringImage)
    questions.answered(two, Brought(name="def:latest"))
    questions.answered(one, ImageSeen(image_id="abc"))
    assert await bringing == "def:latest"
    assert (await seeking).image_id == "abc"


async def test_an_image_that_cannot_be_had_is_not_found() -> None:
    near, far = memory_channel_pair()
    questions = ImageQuestions("n1", near)
    bringing = asyncio.ensure_future(questions.bring("def"))
    frame = await far.receive()
    questions.answered(frame.id, Brought(error="no such image"))
    with pytest.raises(NotFound, match="no such image"):
        await bringing


async def test_who_waits_when_the_session_ends_is_told() -> None:
    near, far = memory_channel_pair()
    questions = ImageQuestions("n1", near)
    seeking = asyncio.ensure_future(questions.seek("abc"))
    await far.receive()
    questions.close()
    with pytest.raises(ChannelClosed, match="session of node n1 has ended"):
        await seeking


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    near, _ = memory_channel_pair()
    ImageQuestions("n1", near).answered(7, ImageSeen())

"""A connection that a client's bytes are passed on by is closed after success, and cut after failure."""

import asyncio
from typing import Any

import pytest

from manager.api.engine.connections import passing_on


class Writer:
    """The writing end of a stream, which notes how it ended."""

    def __init__(self) -> None:
        self.ended = ""
        self.transport = self

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "cut"


async def test_success_closes_the_connection() -> None:
    writer = Writer()
    duplex: Any = asyncio.StreamReader(), writer
    async with passing_on(duplex) as (_, held):
        assert held is writer
        assert not writer.ended
    assert writer.ended == "closed"


@pytest.mark.parametrize("error", [ConnectionResetError(), asyncio.CancelledError()])
async def test_failure_cuts_it_and_is_passed_on(error: BaseException) -> None:
    writer: Any = Writer()
    with pytest.raises(type(error)):
        async with passing_on((asyncio.StreamReader(), writer)):
            raise error
    assert writer.ended == "cut"

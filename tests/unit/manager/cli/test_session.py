"""Which of several managers a command asks: the first that answers, whatever is wrong with the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.errors import InvalidArgument
from manager.cli.endpoint import Endpoint
from manager.cli.failures import CannotConnect
from manager.cli.session import first_that_answers

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


@contextlib.asynccontextmanager
async def manager(path: Path, answer: bytes | None) -> AsyncIterator[str]:
    """Listen as a manager does that gives this answer; None: it hangs."""
    hangs = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await hangs.wait()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield f"unix://{path}"
        hangs.set()


async def chosen(*urls: str) -> str:
    async with asyncio.timeout(8):  # a hung one would take 10 s to give up on
        return (await first_that_answers(Endpoint(",".join(urls)))).url


async def test_one_address_is_used_without_a_question() -> None:
    assert await chosen("unix:///nowhere") == "unix:///nowhere"


async def test_the_first_that_answers_is_asked(tmp_path: Path) -> None:
    async with manager(tmp_path / "a", OK) as first, manager(tmp_path / "b", OK) as second:
        assert await chosen(first, second) == first
        assert await chosen(f"unix://{tmp_path}/gone", second) == second
        assert await chosen(f"unix://{tmp_path}/gone", "unix:///nowhere", second, first) == second


async def test_one_that_hangs_or_breaks_off_is_passed_over(tmp_path: Path) -> None:
    async with manager(tmp_path / "a", None) as hung, manager(tmp_path / "b", OK) as well:
        assert await chosen(hung, well) == well
    async with manager(tmp_path / "c", b"") as broken, manager(tmp_path / "d", OK) as well:
        assert await chosen(broken, well) == well


async def test_when_none_answers_each_is_named(tmp_path: Path) -> None:
    async with manager(tmp_path / "b", b"") as broken:
        with pytest.raises(CannotConnect) as caught:
            await chosen(f"unix://{tmp_path}/gone", broken)
    assert "No manager answers:" in caught.value.message
    assert "gone: Cannot connect to the manager" in caught.value.message
    assert f"{broken}: it ends the connection" in caught.value.message


async def test_what_cannot_be_one_of_several_is_said() -> None:
    with pytest.raises(InvalidArgument, match="cannot be one of several addresses"):
        await chosen("ssh://host", "tcp://host")
    with pytest.raises(InvalidArgument, match="invalid address 'nonsense'"):
        await chosen("tcp://host", "nonsense")

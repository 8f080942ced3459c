"""Commands on several objects, one of which fails."""

import asyncio

import pytest

from manager.cli.failures import ApiError, CommandFailed
from manager.cli.several import collect, each, finish, going_on, print_each


async def served(reference: str) -> list[str]:
    if reference == "gone":
        raise ApiError(404, "no such thing: gone")
    return [f"{reference} was served", "and is well"] if reference != "silent" else []


async def test_the_others_are_handled_and_the_failure_is_told():
    found, problems = await collect(["a", "gone", "silent"], served)
    assert found == [["a was served", "and is well"], []]
    assert problems == ["Error response from daemon: no such thing: gone"]


async def test_each_object_that_was_handled_is_printed(capsys):
    with pytest.raises(CommandFailed, match=r"no such thing: gone$"):
        await each(["a", "gone", "silent"], served)
    assert capsys.readouterr().out == "a\nsilent\n"


async def test_lines_are_printed_as_each_is_handled(capsys):
    printed = []

    async def act(reference: str) -> list[str]:
        printed.append(capsys.readouterr().out)
        return await served(reference)

    await print_each(["a", "b", "silent"], act)
    assert printed == ["", "a was served\nand is well\n", "b was served\nand is well\n"]


async def test_an_error_that_is_no_answer_ends_the_command_at_once():
    asked = []

    async def act(reference: str) -> list[str]:
        asked.append(reference)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await print_each(["a", "b"], act)
    assert asked == ["a"]


def test_no_failure_ends_quietly():
    finish([])
    with pytest.raises(CommandFailed, match=r"^one\ntwo$"):
        finish(["one", "two"])


async def test_what_goes_on_is_said_when_it_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    with going_on("The moves go on."):
        await asyncio.sleep(0)
    assert capsys.readouterr().err == ""

    async def waits() -> None:
        with going_on("The moves go on."):
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    command = asyncio.create_task(waits())
    await begun.wait()
    command.cancel()
    with pytest.raises(asyncio.CancelledError):
        await command
    assert capsys.readouterr().err == "\nThe moves go on.\n"

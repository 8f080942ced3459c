"""Commands on several objects: one that fails keeps none of the others from being handled; all failures are told.

And commands that wait for what goes on without them: here, since `volume ls` loads this and nothing of `progress`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from common.errors import NotFound
from common.text.terminal import echo
from manager.cli.failures import ApiError, CommandFailed

T = TypeVar("T")


async def collect(references: Iterable[str], fetch: Callable[[str], Awaitable[T]]) -> tuple[list[T], list[str]]:
    """Return what `fetch` returned for each object, in their order, and the messages of those that failed."""
    found, problems = [], []
    for reference in references:
        try:
            found.append(await fetch(reference))
        except (ApiError, NotFound, CommandFailed) as error:
            problems.append(error.message)
    return found, problems


async def each(references: Iterable[str], act: Callable[[str], Awaitable[Any]]) -> None:
    """Do the same with every object, and print each that it was done with.

    Raises:
        CommandFailed: with one or more it could not be done.

    """

    async def one(reference: str) -> tuple[str]:
        await act(reference)
        return (reference,)

    await print_each(references, one)


async def print_each(references: Iterable[str], act: Callable[[str], Awaitable[Iterable[str]]]) -> None:
    """Do the same with every object, and print the lines that `act` returns, as soon as it does.

    Raises:
        CommandFailed: with one or more it could not be done.

    """

    async def one(reference: str) -> None:
        for line in await act(reference):
            echo(line)

    finish((await collect(references, one))[1])


@contextmanager
def going_on(words: str) -> Iterator[None]:
    """Say what goes on without the command, if its user ends it in the block with Ctrl-C."""
    try:
        yield
    except asyncio.CancelledError:
        echo(f"\n{words}", err=True)
        raise


def finish(problems: Sequence[str]) -> None:
    """End a command on several objects: every problem is told, and any makes it fail."""
    if problems:
        raise CommandFailed("\n".join(problems))

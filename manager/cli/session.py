"""From a click command to a coroutine with a client: one decorator, used by every command that talks to the manager.

Of several managers, `ADDRESS,ADDRESS…`, the first that answers is asked, as any of them answers everything.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from common.aio.first import Success, first_success
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import address
from manager.cli.connection import Connection
from manager.cli.endpoint import Endpoint, reached
from manager.cli.failures import CannotConnect, no_answer

P = ParamSpec("P")


def current_endpoint() -> Endpoint:
    """Return the address of this invocation: the flag's, else SWARM_MANAGER_HOST, else the default socket."""
    certificates = os.environ.get("SWARM_MANAGER_CERT_PATH")
    return Endpoint(address(click.get_current_context()), Path(certificates) if certificates else None)


def _warn(text: str) -> None:
    echo(f"WARNING: {text}", err=True)


def with_client(function: Callable[Concatenate[Client, P], Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run the coroutine in a loop of its own, with a client as its first argument."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        endpoint = current_endpoint()

        async def main() -> None:
            async with reached(await first_that_answers(endpoint)) as place, Client(place, _warn) as client:
                await function(client, *args, **kwargs)

        asyncio.run(main())

    return command


_ANSWER_SECONDS = 10.0


async def first_that_answers(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint to use: the one there is, or of several the first whose manager answers.

    They are tried in their order, a little apart. One that is locked, or refuses this client, answers, too.

    Raises:
        InvalidArgument: an address has another form, or is one of ssh among others.
        CannotConnect: none answers.

    """
    candidates = endpoint.candidates
    if len(candidates) == 1:
        return endpoint
    found = await first_success(candidates, _ask)
    if isinstance(found, Success):
        return found.candidate
    failures = (f"{candidate.url}: {error.message.splitlines()[0]}" for candidate, error in found.items())
    raise CannotConnect("No manager answers:\n" + "\n".join(failures))


async def _ask(endpoint: Endpoint) -> None:
    """Have the manager answer anything: one that hangs takes connections all the same."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            connection = await Connection.to(endpoint)
            try:
                await connection.exchange("GET", "/_ping", {}, None)
            finally:
                connection.close()
    except TimeoutError as error:
        raise no_answer(endpoint.url, _ANSWER_SECONDS) from error
    except OSError as error:
        raise CannotConnect(f"it ends the connection: {error}") from error

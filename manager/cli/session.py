"""From a click command to a coroutine with a client: one decorator, used by every command that talks to the manager."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from common.text.terminal import echo
from manager.cli.candidates import first_that_answers
from manager.cli.client import Client
from manager.cli.command import address
from manager.cli.endpoint import Endpoint
from manager.cli.ssh import reached

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

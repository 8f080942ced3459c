"""Several managers' addresses, `ADDRESS,ADDRESS…`: the first that answers is asked, as any of them answers all."""

from __future__ import annotations

import asyncio
from collections import deque

from common.errors import SwarmError
from manager.cli.connection import Connection
from manager.cli.endpoint import Endpoint
from manager.cli.failures import CannotConnect, no_answer

# One that is there answers within this; the next is not kept waiting for one whose host is gone.
STAGGER_SECONDS = 0.25
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
    waiting = deque(candidates)
    asked: dict[asyncio.Task[None], Endpoint] = {}
    failures: list[str] = []
    try:
        while waiting or asked:
            if waiting:
                candidate = waiting.popleft()
                asked[asyncio.create_task(_ask(candidate))] = candidate
            apart = STAGGER_SECONDS if waiting else None
            done, _ = await asyncio.wait(asked, timeout=apart, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                candidate = asked.pop(each)
                try:
                    each.result()
                except SwarmError as error:
                    failures.append(f"{candidate.url}: {error.message.splitlines()[0]}")
                    continue
                return candidate
    finally:
        for each in asked:
            each.cancel()
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

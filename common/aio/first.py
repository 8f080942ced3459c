"""Waiting for the first of several things, and trying several until one succeeds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from common.errors import SwarmError

C = TypeVar("C")
R = TypeVar("R")

# A manager that is there answers within this; the next is not kept waiting for one whose host is gone.
STAGGER_SECONDS = 0.25


async def first_of(*waits: Coroutine[Any, Any, object], within: float | None = None) -> None:
    """Return when the first of several waits is over, or `within` seconds have passed; the others are given up.

    What it raised is raised.
    """
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()
    for each in done:
        each.result()


@dataclass(frozen=True, slots=True)
class Success(Generic[C, R]):
    """The candidate that succeeded first, and what its attempt returned."""

    candidate: C
    result: R


async def _drop(_: object) -> None:
    """Give nothing back: the result holds nothing."""


def _names_nobody(_: SwarmError) -> None:
    """Find no candidate in an error."""


async def first_success(
    candidates: Iterable[C],
    attempt: Callable[[C], Awaitable[R]],
    *,
    give_back: Callable[[R], Awaitable[None]] = _drop,
    named_by: Callable[[SwarmError], C | None] = _names_nobody,
) -> Success[C, R] | Mapping[C, SwarmError]:
    """Try candidates in their order, `STAGGER_SECONDS` apart, until one succeeds.

    If none does, return why, by candidate. The others are cancelled; the result of one that succeeds all the same goes
    to `give_back`. A candidate that an error names (`named_by`) is tried next, unless it was before. An error that is
    not a `SwarmError` is raised.
    """
    waiting = deque(dict.fromkeys(candidates))
    tried: dict[asyncio.Future[R], C] = {}
    errors: dict[C, SwarmError] = {}
    try:
        while waiting or tried:
            if waiting:
                candidate = waiting.popleft()
                tried[asyncio.ensure_future(attempt(candidate))] = candidate
            apart = STAGGER_SECONDS if waiting else None
            done, _ = await asyncio.wait(tried, timeout=apart, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                try:
                    result = each.result()
                except SwarmError as error:
                    candidate = tried.pop(each)
                    errors[candidate] = error
                    named = named_by(error)
                    if named is not None and named not in errors and named not in tried.values():
                        waiting = deque((named, *(other for other in waiting if other != named)))
                else:
                    return Success(tried.pop(each), result)
        return errors
    finally:
        await _give_up(tried, give_back)


async def _give_up(tried: Iterable[asyncio.Future[R]], give_back: Callable[[R], Awaitable[None]]) -> None:
    tried = tuple(tried)
    for each in tried:
        each.cancel()
    for outcome in await asyncio.gather(*tried, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            await give_back(outcome)

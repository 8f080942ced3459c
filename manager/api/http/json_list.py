"""Lists as JSON: in one piece when short, in chunks between which other tasks have their turn when long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from manager.api.call import Answer, Reply, Send, Stream

T = TypeVar("T")

# In units of one task's rendering, about 15 µs: a chunk holds the loop for a few milliseconds at most.
CHUNK = 100


def json_list(
    values: Sequence[T],
    keep: Callable[[T], bool],
    view: Callable[[T], Any],
    cost: Callable[[T], int] = lambda _: 1,
) -> Reply:
    """Answer with the rendered values that `keep` accepts.

    `values` must be the caller's own sequence: a long list is written while others change the store. `cost` is how much
    work a value is, in renderings of a task.
    """
    if len(values) <= CHUNK and sum(map(cost, values)) <= CHUNK:
        return Answer(value=[view(value) for value in values if keep(value)])

    def mapped(change: Callable[[Any], Any]) -> Stream:
        return _list_stream(values, keep, lambda value: change(view(value)), cost)

    return replace(_list_stream(values, keep, view, cost), mapped=mapped)


def _list_stream(
    values: Sequence[T], keep: Callable[[T], bool], view: Callable[[T], Any], cost: Callable[[T], int]
) -> Stream:
    async def produce(send: Send) -> None:
        encode = msgspec.json.Encoder().encode
        separator = b"["
        for chunk in _chunks(values, cost):
            parts = [encode(view(value)) for value in chunk if keep(value)]
            if parts:
                await send(separator + b",".join(parts))
                separator = b","
            await asyncio.sleep(0)
        await send(b"[]\n" if separator == b"[" else b"]\n")

    return Stream(produce)


def _chunks(values: Sequence[T], cost: Callable[[T], int]) -> Iterator[list[T]]:
    chunk: list[T] = []
    total = 0
    for value in values:
        chunk.append(value)
        total += cost(value)
        if total >= CHUNK:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk

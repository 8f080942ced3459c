"""Lists as JSON: in one piece when short, in chunks that let the event loop breathe when long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from manager.api.call import Answer, Reply, Send, Stream

T = TypeVar("T")

# A task takes about 15 µs to render: a chunk keeps the loop for a few milliseconds at most.
CHUNK = 100


def json_list(values: Sequence[T], keep: Callable[[T], bool], view: Callable[[T], Any]) -> Reply:
    """Answer with the rendered values that `keep` accepts.

    `values` must be the caller's own sequence: a long list is written while others change the store.
    """
    if len(values) <= CHUNK:
        return Answer(value=[view(value) for value in values if keep(value)])

    async def produce(send: Send) -> None:
        encode = msgspec.json.Encoder().encode
        separator = b"["
        for chunk in _chunks(values):
            parts = [encode(view(value)) for value in chunk if keep(value)]
            if parts:
                await send(separator + b",".join(parts))
                separator = b","
            await asyncio.sleep(0)
        await send(b"[]\n" if separator == b"[" else b"]\n")

    return Stream(produce)


def _chunks(values: Iterable[T]) -> Iterable[list[T]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk

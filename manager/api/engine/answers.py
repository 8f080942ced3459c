"""The one reader of what engines answer: JSON with bounds on its depth and size, of the kind that is expected.

A node's engine is not to be trusted. What it says must not cost the manager more than a bounded amount of memory, nor
end in an exception that nobody expects, nor spoil what other nodes say in the same answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from common.errors import Unavailable
from manager.api.http.bounded_json import WrongJson, decode

T = TypeVar("T")

# After how many bytes of a list other tasks of the event loop have their turn.
_YIELD_BYTES = 256 * 1024


class BadAnswer(Unavailable):
    """An engine has sent an answer that no engine sends: as useless as none."""

    status = 502


def read(text: bytes, kind: type[T]) -> T:
    """Decode JSON and check that it is of a kind. Fields that the kind does not have are kept as they came.

    Raises:
        WrongJson: as `decode`, or it is of another kind.

    """
    value = decode(text)
    _convert(value, kind)
    return value  # type: ignore[no-any-return]  # it was checked to be one


async def read_list(texts: Iterable[msgspec.Raw], kind: type[T]) -> list[T]:
    """Decode the items of a list. Fields that the kind does not have are dropped: several nodes' items share one list.

    Other tasks have their turn after every 256 KiB.

    Raises:
        WrongJson: as `read`.

    """
    items: list[T] = []
    done = 0
    for text in texts:
        item = bytes(text)
        items.append(read_exactly(item, kind))
        done += len(item)
        if done > _YIELD_BYTES:
            done = 0
            await asyncio.sleep(0)
    return items


def read_exactly(text: bytes, kind: type[T]) -> T:
    """Decode JSON of a kind, and drop the fields that the kind does not have.

    Raises:
        WrongJson: as `read`.

    """
    return _convert(decode(text), kind)


def _convert(value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise WrongJson(f"it is not of the expected kind: {error}") from None

"""Hearing of changes: bounded subscriptions to the store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Self

from common.model import StoredObject
from manager.store.changes import ChangeSet

DEFAULT_CAPACITY = 200_000


class Lagged(Exception):
    """The watcher was too slow and changes were dropped: read a snapshot now; the subscription goes on from here."""


class Subscription:
    """All change sets after its making, and only those. Leave it by `with` or `close`.

    With `kinds`, those in which objects of these change: others wake nobody here.

    The store is read without awaiting, so a snapshot taken in the same breath as `watch()` fits it exactly.
    """

    def __init__(
        self, watchers: dict[Subscription, None], capacity: int, kinds: Iterable[type[StoredObject]] | None = None
    ) -> None:
        self.kinds = None if kinds is None else frozenset(kinds)
        self._watchers = watchers
        self._capacity = capacity
        self._queue: deque[ChangeSet] = deque()
        self._size = 0
        self._lagged = False
        self._filled = asyncio.Event()
        watchers[self] = None

    def concerns(self, kinds: AbstractSet[type[StoredObject]]) -> bool:
        """Whether changes of objects of these kinds are to be heard of here."""
        return self.kinds is None or not self.kinds.isdisjoint(kinds)

    def publish(self, change_set: ChangeSet) -> None:
        """Take a change set; past `capacity` changes unread, all are dropped and the reader is told."""
        self._size += len(change_set.changes)
        if self._size > self._capacity:
            self._lagged = True
            self._queue.clear()
            self._size = 0
        else:
            self._queue.append(change_set)
        self._filled.set()

    def wake(self) -> None:
        """Make `next` return, even if nothing has changed."""
        self._filled.set()

    async def next(self) -> tuple[ChangeSet, ...]:
        """Wait for changes, or to be woken, and return all that are there.

        Raises:
            Lagged: changes were lost; take a snapshot before the next await.

        """
        await self.filled()
        return self.take()

    async def filled(self) -> None:
        """Wait for changes, or to be woken."""
        await self._filled.wait()

    def take(self) -> tuple[ChangeSet, ...]:
        """Return all changes that are there, if any; errors as `next`."""
        self._filled.clear()
        batch = tuple(self._queue)
        self._queue.clear()
        self._size = 0
        if self._lagged:
            self._lagged = False
            raise Lagged
        return batch

    def close(self) -> None:
        self._watchers.pop(self, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

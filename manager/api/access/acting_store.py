"""The store as a request sees it: the timeline says who made its changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from common.model import StoredObject
from manager.store.store import Records
from manager.store.transaction import Transaction
from manager.store.view import View
from manager.store.watch import DEFAULT_CAPACITY, Subscription

R = TypeVar("R")


class StoreProxy:
    """A store that passes every call on to another one; subclasses add to that."""

    def __init__(self, store: Records) -> None:
        self._store = store

    @property
    def view(self) -> View:
        return self._store.view

    @property
    def index(self) -> int:
        return self._store.index

    @property
    def failure(self) -> str:
        return self._store.failure

    async def update(self, fn: Callable[[Transaction], R], by: str = "") -> R:
        return await self._store.update(fn, by)

    def try_out(self, fn: Callable[[Transaction], R]) -> R:
        return self._store.try_out(fn)

    def watch(
        self, capacity: int = DEFAULT_CAPACITY, *, kinds: Iterable[type[StoredObject]] | None = None
    ) -> Subscription:
        return self._store.watch(capacity, kinds=kinds)


class ActingStore(StoreProxy):
    """A store whose updates are those of one client, `by`."""

    def __init__(self, store: Records, by: str) -> None:
        super().__init__(store)
        self._by = by

    async def update(self, fn: Callable[[Transaction], R], by: str = "") -> R:
        return await super().update(fn, by or self._by)

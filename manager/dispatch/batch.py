"""Batches many small writes into few transactions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from common.errors import SwarmError, Unavailable
from manager.store.store import Store
from manager.store.transaction import Transaction

T = TypeVar("T")

GATHER_SECONDS = 0.005
MAX_ITEMS = 5_000

_log = logging.getLogger(__name__)


class WriteBatch(Generic[T]):
    """Gathers items and applies them, in order, in one transaction a few milliseconds later.

    `apply` gets the transaction and the items; it deals with a bad item itself and does not raise for it. While one
    transaction waits for its commit the next ones gather. What waits is bounded by the limits of each connection.
    """

    def __init__(self, store: Store, apply: Callable[[Transaction, Sequence[T]], None]) -> None:
        self._store = store
        self._apply = apply
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._filled = asyncio.Event()

    def submit(self, item: T) -> asyncio.Future[None]:
        """Submit an item at once; return a future that is done when the item is durable.

        Raises:
            Unavailable: (when awaited) the store did not take it.

        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._filled.set()
        return future

    async def run(self) -> None:
        """Write until cancelled; whoever then still waits gets `Unavailable`."""
        try:
            while True:
                await self._filled.wait()
                await asyncio.sleep(GATHER_SECONDS)
                await self._write()
        finally:
            self._answer(self._waiting, Unavailable("the manager is stopping"))
            self._waiting = []

    async def _write(self) -> None:
        batch, self._waiting = self._waiting[:MAX_ITEMS], self._waiting[MAX_ITEMS:]
        if not self._waiting:
            self._filled.clear()
        items = [item for item, _ in batch]
        error: SwarmError | None = None
        try:
            await self._store.update(lambda tx: self._apply(tx, items))
        except SwarmError as refused:
            error = refused
        except Exception:  # noqa: BLE001 - whatever it is, it is logged and told
            # An item that trips a bug must not end the manager; all who wait for the batch are told.
            _log.exception("a bug: %d changes were not stored", len(batch))
            error = Unavailable("internal error: this was not stored; see the manager's log")
        except BaseException:
            self._answer(batch, Unavailable("the manager stopped before this change was stored"))
            raise
        self._answer(batch, error)

    @staticmethod
    def _answer(batch: Sequence[tuple[T, asyncio.Future[None]]], error: SwarmError | None) -> None:
        for _, future in batch:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

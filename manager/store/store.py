"""The store: the cluster's state in memory, durable in a backend, changed by transactions, watched by everyone.

Transactions run one after the other on the event loop; those that wait while the backend writes share its next commit
(`writer`). Memory changes, and watchers are notified, only when the backend has said that it is durable. This store is
of one manager, which leads for as long as it is open; `shared` has that of several.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from common.clock import Clock
from common.errors import Unavailable
from common.model import StoredObject
from common.process.memory import without_collecting
from manager.store.backend import Backend, LeaderRecord
from manager.store.changes import ChangeSet
from manager.store.interning import Interner
from manager.store.tables import Tables
from manager.store.transaction import Transaction
from manager.store.view import View
from manager.store.watch import DEFAULT_CAPACITY, Subscription
from manager.store.writer import Writer

R = TypeVar("R")


class Records(Protocol):
    """What may be done with an open store."""

    @property
    def view(self) -> View: ...

    @property
    def index(self) -> int: ...

    @property
    def failure(self) -> str: ...

    async def update(self, fn: Callable[[Transaction], R], by: str = "") -> R: ...

    def try_out(self, fn: Callable[[Transaction], R]) -> R: ...

    def watch(
        self, capacity: int = DEFAULT_CAPACITY, *, kinds: Iterable[type[StoredObject]] | None = None
    ) -> Subscription: ...


class Store:
    """Open it with `async with`, or `load()` and `close()`.

    `written` is called with the seconds that each update took until it was durable.
    """

    def __init__(self, backend: Backend, clock: Clock, written: Callable[[float], None] = lambda _: None) -> None:
        self._backend = backend
        self._clock = clock
        self._tell_latency = written
        self._tables = Tables()
        self._watchers: dict[Subscription, None] = {}  # notified in the order in which they subscribed
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []
        self._writer: Writer | None = None
        self._writing: asyncio.Task[None] | None = None
        self._turns = asyncio.Lock()
        self._closed = False

    @property
    def clock(self) -> Clock:
        """The clock of changes, which all deciders use."""
        return self._clock

    @property
    def view(self) -> View:
        """The live state: consistent until the next await."""
        return self._tables

    @property
    def index(self) -> int:
        return self._tables.index

    @property
    def leads(self) -> bool:
        """Whether updates are taken here."""
        return self._writer is not None

    @property
    def failure(self) -> str:
        """Why the last change was not stored, for a person; empty if it was, or there was none."""
        return self._writer.failure if self._writer is not None else ""

    @property
    def leader(self) -> LeaderRecord | None:
        """Who leads, or led last, as far as known here; None with one manager, or without a leader yet."""
        return None

    async def load(self) -> None:
        """Read the backend and begin to take updates.

        Raises:
            Unavailable: the backend cannot be read.

        """
        loaded = await self._backend.load()
        interner = Interner()
        with without_collecting():
            for value in loaded.objects:
                self._tables.of(type(value)).put(interner.intern(value))
        self._tables.index = loaded.index
        self._begin_writing(Writer(self._backend, self._tables, self._clock, self._publish))

    async def close(self) -> None:
        """Close the backend; updates that still wait are refused."""
        self._closed = True
        await self._end_writing()
        for _, future in self._awaited:
            future.cancel()
        await self._backend.close()

    async def __aenter__(self) -> Self:
        await self.load()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def update(self, fn: Callable[[Transaction], R], by: str = "") -> R:
        """Run `fn` in a transaction and return its result once the changes are durable.

        `fn` must not await. What it raises reaches the caller, and none of its changes is kept. `by` is the client that
        asked for it, for watchers.

        Raises:
            Unavailable: the backend did not take the changes, or the store is closed.
            NotLeader: another manager takes updates.
            Unknown: the changes may or may not be stored.

        """
        if self._writer is None:
            raise self._refusal()
        loop = asyncio.get_running_loop()
        asked = loop.time()
        result = await self._writer.update(fn, by)
        self._tell_latency(loop.time() - asked)
        return result

    def try_out(self, fn: Callable[[Transaction], R]) -> R:
        """Run `fn` in a transaction that is not kept. It must not await; what it raises reaches the caller."""
        return fn(Transaction(self._tables, self._clock.now()))

    async def writing(self) -> None:
        """Wait until updates are no longer taken. A bug that ends that is raised here."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            if not self._writing.cancelled():
                self._writing.result()

    async def reached(self, index: int) -> None:
        """Wait until the state here is that of `index`, or a later one."""
        if index > self._tables.index:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._awaited.append((index, future))
            await future

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Run the block, long work without an await, as the only one; other tasks run between two such blocks."""
        async with self._turns:
            await self._yield_turn()
            yield

    async def _yield_turn(self) -> None:
        await asyncio.sleep(0)

    def watch(
        self, capacity: int = DEFAULT_CAPACITY, *, kinds: Iterable[type[StoredObject]] | None = None
    ) -> Subscription:
        """Subscribe to all changes from now on, or to the change sets in which objects of some `kinds` change.

        `capacity` bounds the changes that may wait unread.
        """
        return Subscription(self._watchers, capacity, kinds)

    def _refusal(self) -> Unavailable:
        """Return the error for updates while there is no writer."""
        if self._closed:
            return Unavailable("the manager is stopping: try again when it is up")
        return Unavailable("the manager's store is not open: it is starting or stopping, try again")

    def _begin_writing(self, writer: Writer) -> None:
        self._writer = writer
        self._writing = asyncio.create_task(self._write(writer), name="store-writer")
        self._writing.add_done_callback(lambda _: self._written(writer))

    async def _write(self, writer: Writer) -> None:
        try:
            await writer.run()
        finally:
            self._written(writer)

    def _written(self, writer: Writer) -> None:
        """Refuse updates from now on: the writer has ended, or was cancelled before its start."""
        if self._writer is writer:
            self._writer = None
            writer.close(self._refusal)
            self._writer_ended()

    def _writer_ended(self) -> None:
        """React to the end of the writer; for subclasses."""

    async def _end_writing(self) -> None:
        """Cancel the writer, if there is one, and wait for its end."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    def _publish(self, change_sets: Sequence[ChangeSet]) -> None:
        for change_set in change_sets:
            kinds = {type(change.current) for change in change_set.changes}
            for watcher in self._watchers:
                if watcher.concerns(kinds):
                    watcher.publish(change_set)
        if self._awaited:
            self._wake()

    def _wake(self) -> None:
        """Wake those who wait for an index that has been reached."""
        index = self._tables.index
        for wanted, future in self._awaited:
            if wanted <= index:
                with contextlib.suppress(asyncio.InvalidStateError):  # its caller has given up
                    future.set_result(None)
        self._awaited = [(wanted, future) for wanted, future in self._awaited if wanted > index and not future.done()]

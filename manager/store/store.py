"""The store: the cluster's state in memory, durable in a backend, changed by transactions, watched by everyone.

Transactions run one after the other on the event loop; those that wait while the backend writes share its next commit.
Memory changes, and watchers hear of it, only when the backend has said that it is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import msgspec

from common.clock import Clock
from common.errors import Unavailable
from common.model import StoredObject, Task
from manager.store.backend import Backend
from manager.store.changes import ChangeSet
from manager.store.transaction import Tables, Transaction
from manager.store.view import View
from manager.store.watch import DEFAULT_CAPACITY, Subscription

R = TypeVar("R")

_MAX_WAITING = 10_000
_BATCH_CHANGES = 20_000

_log = logging.getLogger(__name__)


class Records(Protocol):
    """What is done with a store that is open."""

    @property
    def view(self) -> View: ...

    @property
    def index(self) -> int: ...

    async def update(self, fn: Callable[[Transaction], R], by: str = "") -> R: ...

    def try_out(self, fn: Callable[[Transaction], R]) -> R: ...

    def watch(self, capacity: int = DEFAULT_CAPACITY) -> Subscription: ...


class _Job:
    """A transaction's function, who asks for it, and the future of its caller."""

    __slots__ = ("by", "fn", "future", "result")

    def __init__(self, fn: Callable[[Transaction], Any], by: str, future: asyncio.Future[Any]) -> None:
        self.fn = fn
        self.by = by
        self.future = future
        self.result: Any = None

    def succeed(self) -> None:
        if not self.future.done():
            self.future.set_result(self.result)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Store:
    """Open it with `async with`, or `load()` and `close()`."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._tables = Tables()
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._room = asyncio.Semaphore(_MAX_WAITING)
        self._watchers: dict[Subscription, None] = {}  # told in the order in which they came
        self._writer: asyncio.Task[None] | None = None

    @property
    def view(self) -> View:
        """The live state: consistent until the next await."""
        return self._tables

    @property
    def index(self) -> int:
        return self._tables.index

    async def load(self) -> None:
        """Read the backend and begin to take updates.

        Raises:
            Unavailable: the backend cannot be read.

        """
        loaded = await self._backend.load()
        for value in _sharing_specs(loaded.objects):
            self._tables.of(type(value)).put(value)
        self._tables.index = loaded.index
        self._writer = asyncio.create_task(self._write(), name="store-writer")

    async def close(self) -> None:
        """End; updates that still wait are refused, and the backend is closed."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        while not self._jobs.empty():
            self._jobs.get_nowait().fail(Unavailable("the manager is stopping: try again when it is up"))
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

        `fn` must not await. What it raises reaches the caller, and nothing that it did is kept. Watchers hear who asked
        for it, `by`.

        Raises:
            Unavailable: the backend did not take the changes, or the store is closed.

        """
        async with self._room:
            if self._writer is None or self._writer.done():
                raise Unavailable("the manager's store is not open: it is starting or stopping, try again")
            future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self._jobs.put_nowait(_Job(fn, by, future))
            return await future

    def try_out(self, fn: Callable[[Transaction], R]) -> R:
        """Run `fn` in a transaction of which nothing is kept. It must not await; what it raises reaches the caller."""
        return fn(Transaction(self._tables, self._clock.now()))

    async def writing(self) -> None:
        """Wait for as long as updates are taken. Only a bug ends that before `close`: it is raised here."""
        if self._writer is not None:
            await asyncio.shield(self._writer)

    def watch(self, capacity: int = DEFAULT_CAPACITY) -> Subscription:
        """Subscribe to all changes from now on; `capacity` bounds the changes that may wait unread."""
        return Subscription(self._watchers, capacity)

    async def _write(self) -> None:
        while True:
            jobs = [await self._jobs.get()]
            try:
                await self._commit(jobs)
            except BaseException:
                for job in jobs:
                    job.fail(Unavailable("the manager stopped before this change was stored: look, then repeat it"))
                raise

    async def _commit(self, jobs: list[_Job]) -> None:
        """Run the first job and those that wait behind it as one backend commit."""
        batch = Transaction(self._tables, self._clock.now())
        change_sets: list[ChangeSet] = []
        done = self._run(jobs[0], batch, change_sets)
        changes = sum(len(each.changes) for each in change_sets)
        while not self._jobs.empty() and changes < _BATCH_CHANGES:
            job = self._jobs.get_nowait()
            jobs.append(job)
            seen = len(change_sets)
            done += self._run(job, batch, change_sets)
            changes += sum(len(each.changes) for each in change_sets[seen:])
        if change_sets and (error := await self._write_down(change_sets)):
            for job in done:
                job.fail(error)
            return
        self._publish(batch, change_sets)
        for job in done:
            job.succeed()

    async def _write_down(self, change_sets: Sequence[ChangeSet]) -> Unavailable | None:
        """Make changes durable; return why they are not."""
        try:
            await self._backend.commit(change_sets)
        except Unavailable as error:
            return error
        except Exception:  # noqa: BLE001 - the changes that trip a bug must not keep all others from being stored
            _log.exception("a bug: %d changes were not stored", sum(len(each.changes) for each in change_sets))
            return Unavailable("internal error: this was not stored; see the manager's log")
        return None

    def _run(self, job: _Job, batch: Transaction, change_sets: list[ChangeSet]) -> list[_Job]:
        """Run one job on its own layer over the batch; a job that raises leaves no trace and has its answer."""
        if job.future.done():
            return []
        layer = Transaction(batch, batch.now)
        try:
            job.result = job.fn(layer)
        except Exception as error:  # noqa: BLE001 - it is the caller's, and reaches the caller
            job.fail(error)
            return []
        change_set = layer.change_set(job.by)
        if change_set.changes:
            layer.merge()
            batch.index = change_set.index
            change_sets.append(change_set)
        return [job]

    def _publish(self, batch: Transaction, change_sets: Sequence[ChangeSet]) -> None:
        batch.merge()
        self._tables.index = batch.index
        for change_set in change_sets:
            for watcher in self._watchers:
                watcher.publish(change_set)


def _sharing_specs(objects: Sequence[StoredObject]) -> Sequence[StoredObject]:
    """Let the tasks of a service share one spec in memory, as they did before they were written."""
    specs: dict[tuple[str, int], Any] = {}
    result = []
    for value in objects:
        if isinstance(value, Task):
            spec = specs.setdefault((value.service_id, value.spec_version), value.spec)
            if spec is not value.spec and spec == value.spec:
                value = msgspec.structs.replace(value, spec=spec)  # noqa: PLW2901
        result.append(value)
    return result

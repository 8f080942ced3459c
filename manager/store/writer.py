"""The one writer of a store: transactions one after the other, and those that wait while the backend writes together.

Memory changes only when the backend has said that what changes is durable.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from common.clock import Clock
from common.errors import Unavailable
from manager.store.backend import Backend, LeadershipLost, Unknown
from manager.store.changes import ChangeSet
from manager.store.tables import Tables
from manager.store.transaction import Transaction

R = TypeVar("R")

_MAX_WAITING = 10_000

_log = logging.getLogger(__name__)


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


class Writer:
    """Takes updates from when it is made until it is closed; `run` stores them, and `publish` hears what was stored.

    `beat` is called after every `beat_seconds` without a commit, also where updates that change nothing keep it busy.
    `failure` says why the backend did not take the last commit; it is empty where it did.
    """

    def __init__(
        self,
        backend: Backend,
        tables: Tables,
        clock: Clock,
        publish: Callable[[Sequence[ChangeSet]], None],
        *,
        beat: Callable[[], Awaitable[None]] | None = None,
        beat_seconds: float | None = None,
    ) -> None:
        self._backend = backend
        self._tables = tables
        self._clock = clock
        self._publish = publish
        self._beat = beat
        self._beat_seconds = beat_seconds
        self._jobs: deque[_Job | None] = deque()  # None: the last one was before it
        self._arrived = asyncio.Event()
        self._room = asyncio.Semaphore(_MAX_WAITING)
        self._refusal: Callable[[], Unavailable] | None = None
        self._finished = False
        self.failure = ""
        self._shown_at = 0.0

    async def update(self, fn: Callable[[Transaction], R], by: str) -> R:
        """Run `fn` in a transaction; see `Store.update`."""
        async with self._room:
            if self._refusal is not None:
                raise self._refusal()
            future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self._jobs.append(_Job(fn, by, future))
            self._arrived.set()
            return await future

    def finish(self, refusal: Callable[[], Unavailable]) -> None:
        """Refuse new updates; `run` ends when it has stored those that wait."""
        self._refusal = refusal
        self._jobs.append(None)
        self._arrived.set()

    def close(self, refusal: Callable[[], Unavailable]) -> None:
        """Refuse new updates, and those that wait."""
        self._refusal = refusal
        while self._jobs:
            if (job := self._jobs.popleft()) is not None:
                job.fail(refusal())

    async def run(self) -> None:
        """Store updates until cancelled, or until `finish` was called and all are stored.

        Raises:
            LeadershipLost: by the backend, which others share. What was being stored then has its answer.

        """
        self._shown_at = self._now()
        while not self._finished:
            due = math.inf if self._beat_seconds is None else self._shown_at + self._beat_seconds
            if due <= self._now():
                await self._show_life()
                continue
            if not self._jobs:
                await self._wait_for_jobs(due)
                continue
            first = self._jobs.popleft()
            if first is None:
                return
            jobs = [first]
            try:
                await self._commit(jobs)
            except LeadershipLost:
                raise
            except BaseException:
                for job in jobs:
                    job.fail(
                        Unknown("the manager stopped leading: this may or may not be stored: look, then repeat it")
                    )
                raise

    async def _wait_for_jobs(self, due: float) -> None:
        """Wait until there is one, but until `due` at most, by the loop's time."""
        self._arrived.clear()
        if due == math.inf:
            await self._arrived.wait()
            return
        # A leader without work does this several times a second: an event costs less than a timeout, which raises.
        timer = asyncio.get_running_loop().call_at(due, self._arrived.set)
        try:
            await self._arrived.wait()
        finally:
            timer.cancel()

    async def _show_life(self) -> None:
        assert self._beat is not None
        self._shown_at = self._now()
        try:
            await self._beat()
        except LeadershipLost:
            raise
        except Unavailable as error:  # the storage is full, say: it answers, and this manager leads on
            _log.error("%s", error.message)

    async def _commit(self, jobs: list[_Job]) -> None:
        """Run the first job and those that wait behind it as one backend commit."""
        began = self._now()
        batch = Transaction(self._tables, self._clock.now())
        change_sets: list[ChangeSet] = []
        done = self._run(jobs[0], batch, change_sets)
        share = sum(map(self._backend.share_of_commit, change_sets))
        while self._jobs and share < 1 and not self._is_long_since(began):
            job = self._jobs.popleft()
            if job is None:
                self._finished = True
                break
            jobs.append(job)
            seen = len(change_sets)
            done += self._run(job, batch, change_sets)
            share += sum(map(self._backend.share_of_commit, change_sets[seen:]))
        if change_sets:
            self._shown_at = self._now()
        if change_sets and (error := await self._write_down(change_sets)):
            for job in done:
                job.fail(error)
            if isinstance(error, LeadershipLost):
                raise error
            return
        batch.merge()
        self._tables.index = batch.index
        self._publish(change_sets)
        for job in done:
            job.succeed()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _is_long_since(self, began: float) -> bool:
        """Whether so long was decided that the others are to hear of this manager before more is."""
        return self._beat_seconds is not None and self._now() - began >= self._beat_seconds

    async def _write_down(self, change_sets: Sequence[ChangeSet]) -> Unavailable | None:
        """Make changes durable; return why they are not."""
        try:
            await self._backend.commit(change_sets)
        except Unavailable as error:
            self.failure = error.message
            return error
        except Exception:  # noqa: BLE001 - the changes that trip a bug must not keep all others from being stored
            _log.exception("a bug: %d changes were not stored", sum(len(each.changes) for each in change_sets))
            return Unavailable("internal error: this was not stored; see the manager's log")
        self.failure = ""
        return None

    @staticmethod
    def _run(job: _Job, batch: Transaction, change_sets: list[ChangeSet]) -> list[_Job]:
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

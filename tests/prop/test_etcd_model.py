"""The model of etcd that the simulation trusts answers as the real one does, which is killed now and then meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from manager.store.backends.etcd.api import (
    Compacted,
    Compare,
    Delete,
    Etcd,
    Get,
    NoAnswer,
    Operation,
    Put,
    Refused,
    Revision,
    Transaction,
    end_of,
)
from manager.store.backends.etcd.process import EtcdProcess
from tests.fakes.etcd import FakeEtcd
from tests.fakes.etcd_members import real_members

pytestmark = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")

T = TypeVar("T")

PREFIX = b"/p/"
KEYS = [PREFIX + name for name in (b"a", b"b", b"c", b"d")] + [b"/other"]
CALLS = 300
KILLS = 2


class Pair:
    """The two, to which the same is done."""

    def __init__(self, process: EtcdProcess, rng: random.Random) -> None:
        self._process = process
        self._rng = rng
        self._real = process.client()
        self._etcd = FakeEtcd(("one",), rng)
        self._model = self._etcd.client("one")
        self.answers = 0

    async def call(self) -> None:
        """Do something at random, and compare."""
        await self._rng.choices([self._transact, self._read, self._watch, self._compact], [10, 3, 2, 1])[0]()

    async def kill(self) -> None:
        """Kill the real one while it has something to do; then bring the model to what became of that."""
        transaction = Transaction((), (Put(KEYS[0], self._rng.randbytes(8)),))
        asked = asyncio.create_task(self._real.transact(transaction))
        await asyncio.sleep(self._rng.uniform(0, 0.002))
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        await asyncio.wait([asked])
        await self._process.ready(30)
        page = await self._real.read(PREFIX, end_of(PREFIX), limit=9)
        if page.revision > self._etcd.revision:
            self._etcd.apply(transaction)
        else:
            assert isinstance(asked.exception(), NoAnswer), "what was answered is gone"
        await self._same(
            self._real.read(PREFIX, end_of(PREFIX), limit=9), self._model.read(PREFIX, end_of(PREFIX), limit=9)
        )

    async def close(self) -> None:
        await self._real.close()

    async def _transact(self) -> None:
        transaction = Transaction(self._compares(), self._operations(), self._operations())
        await self._same(self._real.transact(transaction), self._model.transact(transaction))

    async def _read(self) -> None:
        limit, revision = self._rng.randint(1, 5), self._rng.choice([0, self._revision()])
        await self._same(*(each.read(b"/", b"0", limit=limit, revision=revision) for each in self._both))

    async def _watch(self) -> None:
        revision = max(1, self._revision())
        last = max((each.number for each in self._etcd.after(self._etcd.compacted or 1) if _below(each)), default=0)
        if revision <= last or revision < self._etcd.compacted:
            await self._same(*(_watched(each, revision, last) for each in self._both))

    async def _compact(self) -> None:
        revision = self._rng.randint(self._etcd.compacted + 1, self._etcd.revision)
        if self._rng.random() < 0.3 and revision > self._etcd.compacted:
            await self._real.call("/v3/kv/compaction", msgspec.json.encode({"revision": str(revision)}))
            self._etcd.compact(revision)

    @property
    def _both(self) -> tuple[Etcd, Etcd]:
        return self._real, self._model

    def _revision(self) -> int:
        """Choose a revision, of which a few are gone or yet to come."""
        return max(1, self._etcd.revision - self._rng.choice([-2, 0, 1, 2, 5, 20, 60]))

    def _compares(self) -> tuple[Compare, ...]:
        keys = self._rng.sample(KEYS, self._rng.choice([0, 1, 1, 2]))
        mods = {each.key: each.mod for each in self._etcd.state(self._etcd.revision)}
        return tuple(Compare(key, max(0, mods.get(key, 0) - self._rng.choice([0, 0, 0, 1]))) for key in keys)

    def _operations(self) -> tuple[Operation, ...]:
        keys = [self._rng.choice(KEYS) for _ in range(self._rng.randint(0, 4))]
        made: list[Operation] = []
        for key in keys:
            kind = self._rng.choice([Put, Put, Delete, Get])
            made.append(Put(key, self._rng.randbytes(self._rng.choice([0, 1, 40]))) if kind is Put else kind(key))
        return tuple(made)

    async def _same(self, real: Awaitable[T], model: Awaitable[T]) -> None:
        expected = await _answer(model)
        assert await _answer(real) == expected
        self.answers += 1


async def _answer(call: Awaitable[T]) -> T | type[Exception]:
    """Return the answer, or what kind of refusal it is."""
    try:
        async with asyncio.timeout(10):
            return await call
    except (Refused, Compacted) as error:
        return type(error)


def _below(revision: Revision) -> bool:
    return any(each.key.startswith(PREFIX) for each in revision.changes)


async def _watched(etcd: Etcd, revision: int, last: int) -> list[Revision]:
    """Return the revisions from one to another, as they are watched."""
    found: list[Revision] = []
    async with contextlib.aclosing(etcd.watch(PREFIX, revision)) as watched:
        async for each in watched:
            found.append(each)
            if each.number >= last:
                break
    return found


@pytest.mark.parametrize("seed", range(2))
async def test_the_model_answers_as_etcd_does(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    kills = rng.sample(range(CALLS), KILLS)
    async with real_members(tmp_path / "a, b", 1) as (process,):
        pair = Pair(process, rng)
        try:
            for number in range(CALLS):
                await pair.call()
                if number in kills:
                    await pair.kill()
        finally:
            await pair.close()
        assert pair.answers > CALLS / 2

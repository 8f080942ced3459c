"""Commit: how long until a change is stored, in SQLite, one etcd, or three, and how many objects a second that makes.

Tasks of some 1 kB, sealed; one commit after the other. The members of etcd are on this host, each with its own file, on
loopback and without TLS between them: a real network and TLS add theirs. Claims, and what is followed, is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from common.version import version
from manager.store.backend import Backend, Epoch, LeaderRecord
from manager.store.backends.etcd.backend import EtcdBackend
from manager.store.backends.sealed import KEY_BYTES, AesSeal
from manager.store.backends.sqlite import SqliteBackend
from tests.bench.store import make_change_set, make_task, percentiles
from tests.bench.table import print_table
from tests.fakes.etcd_members import real_members

ROUNDS = 300
SIZES = [1, 20, 200]


@contextlib.asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[Backend]:
    backend = SqliteBackend(folder / "store.db", AesSeal({1: bytes(KEY_BYTES)}, 1), fresh=True)
    await backend.load()
    yield backend
    await backend.close()


@contextlib.asynccontextmanager
async def _etcd(folder: Path, count: int) -> AsyncIterator[Backend]:
    async with real_members(folder, count) as members:
        backend = EtcdBackend(members[0].client(), "bench", AesSeal({1: bytes(KEY_BYTES)}, 1))
        try:
            await backend.load()
            assert await backend.claim(LeaderRecord("bench", Epoch(0, 1), "bench:2377", version()))
            yield backend
        finally:
            await backend.close()


async def _measure(
    name: str, storage: contextlib.AbstractAsyncContextManager[Backend], rounds: int
) -> list[list[object]]:
    rng = random.Random(1)
    rows: list[list[object]] = []
    index = 0
    async with storage as backend:
        for size in SIZES:
            found = []
            for _ in range(max(20, rounds // size)):
                index += 1
                change_set = make_change_set(index, [make_task(rng.randrange(10_000), rng) for _ in range(size)])
                began = time.perf_counter()
                await backend.commit([change_set])
                found.append(time.perf_counter() - began)
            rows.append([name, size, *percentiles(found), round(size * len(found) / sum(found))])
    return rows


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run commit")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--folder", type=Path, help="measure the disk of this folder")
    options = parser.parse_args(argv)
    logging.getLogger("manager").setLevel(logging.CRITICAL)  # members that are ended, or stopped, miss each other
    root = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder))
    try:
        rows = asyncio.run(_measure("SQLite", _sqlite(root), options.rounds))
        for name, count in (("one etcd", 1), ("three etcd", 3)):
            folder = root / str(count)
            folder.mkdir()
            rows += asyncio.run(_measure(name, _etcd(folder, count), options.rounds))
        print_table("Commits", ["storage", "tasks", "p50 ms", "p99 ms", "tasks/s"], rows)
    finally:
        shutil.rmtree(root)
    return 0

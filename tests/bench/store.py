"""Store: how long a commit to the disk takes, what removing a secret adds, and how long a start reads.

Commits follow each other without a pause, each of so many updated tasks of a usual size (some 1 kB); a plain 4 kB write
and `fdatasync` on the same disk is beside them. Removing a secret writes all objects with something secret in them anew
(`manager/store/backends/schema.py`): the second table has that by how many there are.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common.clock import SystemClock
from common.model import Secret, Service, StoredObject, Task
from common.model.container import ContainerSpec
from common.model.secret import SecretSpec
from common.model.service import Replicated, ServiceMode, ServiceSpec, TaskSpec
from manager.store.backends.sealed import KEY_BYTES, AesSeal
from manager.store.backends.sqlite import SqliteBackend
from manager.store.changes import Change, ChangeSet
from manager.store.store import Store
from tests.bench.table import print_table

SEAL = AesSeal({1: bytes(KEY_BYTES)}, 1)
ROUNDS = 500
STORED = [1_000, 100_000]
COMMITTED = [1, 20, 1_000]
SECRETS = [(10, 1_000), (100, 1_000), (100, 10_000)]


@functools.cache
def _spec(service: int) -> TaskSpec:
    image = f"registry.example/{random.Random(service).getrandbits(256):x}"
    return TaskSpec(container_spec=ContainerSpec(image=image, env=tuple(f"V{n}={n}" for n in range(40))))


def make_task(number: int, rng: random.Random) -> Task:
    return Task(
        id=f"t{number:024}",
        spec=_spec(number % 100),
        service_id=f"s{number % 100:024}",
        service_name=f"service{number % 100}",
        slot=number,
        node_id=f"n{rng.getrandbits(96):024x}",
    )


def make_change_set(index: int, objects: Sequence[StoredObject], *, removed: bool = False) -> ChangeSet:
    return ChangeSet(index, tuple(Change(each, None) if removed else Change(None, each) for each in objects))


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000


async def _filled(folder: Path, objects: Sequence[StoredObject]) -> SqliteBackend:
    """Make a store with so many objects, under index 1."""
    backend = SqliteBackend(folder / "store.db", SEAL, fresh=True)
    await backend.load()
    await backend.commit([make_change_set(1, objects)])
    return backend


async def _commits(folder: Path, stored: int, size: int, rounds: int) -> list[float]:
    rng = random.Random(1)
    backend = await _filled(folder, [make_task(number, rng) for number in range(stored)])
    found = []
    for index in range(2, rounds + 2):
        changes = [make_change_set(index, [make_task(rng.randrange(stored), rng) for _ in range(size)])]
        began = time.perf_counter()
        await backend.commit(changes)
        found.append(time.perf_counter() - began)
    await backend.close()
    return found


async def _removals(folder: Path, count: int, size: int, rounds: int) -> list[float]:
    rng = random.Random(1)
    secrets = [Secret(id=f"x{n:024}", spec=SecretSpec(name=f"x{n}", data=rng.randbytes(size))) for n in range(count)]
    backend = await _filled(folder, secrets)
    found = []
    for index in range(2, 2 * rounds + 2, 2):
        secret = rng.choice(secrets)
        began = time.perf_counter()
        await backend.commit([make_change_set(index, [secret], removed=True)])
        found.append(time.perf_counter() - began)
        await backend.commit([make_change_set(index + 1, [secret])])
    await backend.close()
    return found


async def _load(folder: Path, stored: int) -> float:
    """Return how long a start takes to read a store that was closed."""
    rng = random.Random(1)
    mode = ServiceMode(replicated=Replicated(replicas=stored))
    service = Service(id="s1", spec=ServiceSpec(name="web", mode=mode))
    backend = await _filled(folder, [service, *(make_task(number, rng) for number in range(stored))])
    await backend.close()
    began = time.perf_counter()
    async with Store(SqliteBackend(folder / "store.db", SEAL), SystemClock()):
        return time.perf_counter() - began


def _flushes(folder: Path, rounds: int) -> list[float]:
    found = []
    with (folder / "plain").open("wb", buffering=0) as file:
        for _ in range(rounds):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - began)
    return found


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run store")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--stored", type=int, nargs="+", default=STORED)
    parser.add_argument("--folder", type=Path, help="measure the disk of this folder")
    options = parser.parse_args(argv)
    root = Path(tempfile.mkdtemp(prefix="bench-store-", dir=options.folder))
    numbers = iter(range(1_000))

    def folder() -> Path:
        made = root / str(next(numbers))
        made.mkdir()
        return made

    try:
        rows = [["a flushed write of 4 kB", *percentiles(_flushes(folder(), options.rounds))]]
        for stored in options.stored:
            for size in COMMITTED:
                rounds = max(20, options.rounds // size)
                found = asyncio.run(_commits(folder(), stored, size, rounds))
                rows.append([f"{size:,} of {stored:,} tasks", *percentiles(found)])
        print_table("Commits", ["what", "p50 ms", "p99 ms"], rows)
        rows = []
        for count, size in SECRETS:
            found = asyncio.run(_removals(folder(), count, size, max(20, options.rounds // 10)))
            rows.append([f"{count} of {size:,} bytes", *percentiles(found)])
        print_table("Removing a secret", ["secrets", "p50 ms", "p99 ms"], rows)
        loads = [[stored, asyncio.run(_load(folder(), stored))] for stored in options.stored]
        print_table("Start", ["tasks", "seconds"], loads)
    finally:
        shutil.rmtree(root)
    return 0

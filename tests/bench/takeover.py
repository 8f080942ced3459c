"""Takeover: seconds from a fault at the leader to the first commit of the next one, of the store alone.

Three stores in one process, each with its own member of etcd on this host, without loops, workers or API: what the
cluster takes beside this, the benchmark of whole clusters shows. The leader's member leads etcd, too, in about a third
of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from common.clock import SystemClock
from common.errors import SwarmError
from common.model import Service
from common.model.service import ServiceSpec
from common.version import version
from manager.loops.leadership import Candidate, Leadership
from manager.store.backends.etcd.api import NoAnswer
from manager.store.backends.etcd.backend import EtcdBackend
from manager.store.backends.etcd.process import EtcdProcess
from manager.store.backends.sealed import KEY_BYTES, AesSeal
from manager.store.shared import SharedStore
from tests.bench.table import print_table
from tests.fakes.etcd_members import real_members

ROUNDS = 5


class _Manager:
    """A store that leads and follows on one member."""

    def __init__(self, name: str, process: EtcdProcess) -> None:
        self.process = process
        self.client = process.client()
        self.store = SharedStore(EtcdBackend(self.client, "bench", AesSeal({1: bytes(KEY_BYTES)}, 1)), SystemClock())
        candidate = Candidate(name, f"{name}:2377", version())
        self.leadership = Leadership(self.store, candidate, _nothing, random.Random(name))
        self.running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self.store:
            await self.leadership.run()

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])


@contextlib.asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


async def _commit(managers: Sequence[_Manager], number: int, but: _Manager | None = None) -> _Manager:
    """Store something with whoever leads, other than one; return who that was."""
    while True:
        for each in managers:
            if each is not but and each.store.leads:
                with contextlib.suppress(SwarmError):
                    service = Service(id=f"s{number % 100}", spec=ServiceSpec(name=f"s{number % 100}"))
                    await each.store.update(lambda tx, service=service: tx.put(service))  # type: ignore[misc]
                    return each
        await asyncio.sleep(0.002)


async def _hand_over(leader: _Manager) -> Callable[[], Awaitable[None]]:
    leader.leadership.hand_over()
    return _nothing_to_mend


async def _kill_manager(leader: _Manager) -> Callable[[], Awaitable[None]]:
    """Let nothing of it come or go any more, as when its process is gone."""

    async def no_answer(*_: object) -> bytes:
        raise NoAnswer("its process is gone")

    leader.client.call = no_answer  # type: ignore[method-assign]
    return _nothing_to_mend


async def _stop_etcd(leader: _Manager) -> Callable[[], Awaitable[None]]:
    pid = leader.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    async def mend() -> None:
        os.kill(pid, signal.SIGCONT)

    return mend


async def _kill_etcd(leader: _Manager) -> Callable[[], Awaitable[None]]:
    """Kill its etcd, which comes back by itself: whoever leads then, a change is stored again."""
    assert leader.process.pid is not None
    os.kill(leader.process.pid, signal.SIGKILL)
    return _nothing_to_mend


async def _nothing_to_mend() -> None:
    """Leave it as it is."""


FAULTS = {
    "handed over": (_hand_over, True),
    "manager gone": (_kill_manager, True),
    "etcd stopped": (_stop_etcd, True),
    "etcd killed, restarted": (_kill_etcd, False),
}


async def _measure(folder: Path, fault: str) -> float:
    inject, replaced = FAULTS[fault]
    async with real_members(folder, 3) as processes:
        managers = [_Manager(f"m{number}", process) for number, process in enumerate(processes)]
        try:
            for number in range(20):
                leader = await _commit(managers, number)
            await asyncio.gather(*(each.store.reached(leader.store.index) for each in managers))
            began = time.perf_counter()
            mend = await inject(leader)
            await _commit(managers, 99, leader if replaced else None)
            took = time.perf_counter() - began
            await mend()
            return took
        finally:
            await asyncio.gather(*(each.end() for each in managers))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run takeover")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(argv)
    logging.getLogger("manager").setLevel(logging.CRITICAL)  # members that are ended, or stopped, miss each other
    root = Path(tempfile.mkdtemp(prefix="bench-"))
    rows: list[list[object]] = []
    numbers = itertools.count()
    try:
        for name in FAULTS:
            found = [asyncio.run(_measure(root / f"{next(numbers)}", name)) for number in range(options.rounds)]
            rows.append([name, len(found), statistics.median(found), max(found)])
    finally:
        shutil.rmtree(root)
    print_table("Seconds to the next commit", ["fault at the leader", "rounds", "median", "worst"], rows)
    return 0

"""Databases that are written to while their volumes move, and hosts, workers and the manager fail in every phase.

Whatever happens to a move, each write that was acknowledged is there afterwards, and the databases find nothing wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.e2e.databases.images import DATABASES, Database, archive
from tests.lab import Host
from tests.lab.process import all_at_once

pytestmark = [pytest.mark.asyncio(loop_scope="module"), long, pytest.mark.timeout(3000)]

# Every how many of the faults below is tried: 1 are all of them.
STEP = int(os.environ.get("SWARM_DATABASE_FAULTS_STEP", "3"))
_SETTLED_SECONDS = 300.0
_HANG_SECONDS = 8.0


class Databases(Cluster):
    """Three hosts: a manager's, and two between which the data moves. The test is the databases' only client."""

    async def begin(self) -> None:
        await super().begin()
        images = self.lab.workdir / "databases.tar"
        images.write_bytes(await asyncio.to_thread(archive, DATABASES))
        await all_at_once(host.engine.load(images) for host in self.hosts)
        await self.adopt(self.manager_host)
        self.acks.mkdir()
        self.acks.chmod(0o777)
        for each in DATABASES:
            command = (
                "service",
                "create",
                "-d",
                "--no-resolve-image",
                "--name",
                each.name,
                "--stop-grace-period",
                "1s",
            )
            data = f"type=volume,source={each.name}_data,target=/data"
            acks = f"type=bind,source={self.acks},target=/acks"
            where = ("--constraint", "node.hostname!=h1")
            image = f"{each.name}:lab"
            await self.swarm(*command, *where, "--mount", data, "--mount", acks, image, "sh", "-c", each.script)

    @property
    def acks(self) -> Path:
        return self.lab.workdir / "acks"

    def acknowledged(self, database: Database) -> list[int]:
        log = self.acks / database.name
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    async def write_on(self, more: int = 3) -> None:
        """Wait until each database has acknowledged more writes."""
        before = {each.name: len(self.acknowledged(each)) for each in DATABASES}

        async def written() -> bool:
            return all(len(self.acknowledged(each)) >= before[each.name] + more for each in DATABASES)

        await self.until(written, _SETTLED_SECONDS, lambda: f"{before}", pause=0.2)

    async def home(self, database: Database) -> Host:
        """Return the host that has a database's one running task."""
        (task,) = await self.running(database.name, 1, _SETTLED_SECONDS)
        names = {node["ID"]: name for name, node in (await self.nodes()).items()}
        return next(host for host in self.hosts if host.name == names[task["NodeID"]])

    async def moves(self) -> list[dict[str, Any]]:
        return [each for each in await self.get("/swarm/transfers") if each["Phase"] in ("copying", "last")]

    async def at_rest(self) -> None:
        """Wait until no move is under way."""

        async def ended() -> bool:
            try:
                return not await self.moves()
            except OSError:
                return False  # the manager starts

        await self.until(ended, _SETTLED_SECONDS, pause=0.2)

    async def begin_moves(self) -> tuple[Host, Host]:
        """Begin to move all databases to the other host of the first; return source and target of the first."""
        source = await self.home(DATABASES[0])
        target = self.hosts[3 - self.hosts.index(source)]
        for each in DATABASES:
            home = await self.home(each)
            other = self.hosts[3 - self.hosts.index(home)]
            await self.request("POST", f"/swarm/volumes/{home.name}/{each.name}_data/move", {"Node": other.name})
        return source, target

    async def in_phase(self, phase: str) -> bool:
        """Wait until some move is in a phase; return whether one has been, before all ended."""
        while moves := await self.moves():
            if any(each["Phase"] == phase for each in moves):
                return True
            await asyncio.sleep(0.02)
        return False

    async def check(self) -> None:
        """Compare what each database has with what it has acknowledged, and let it look for damage."""
        for each in DATABASES:
            known = self.acknowledged(each)
            assert known, each.name
            box = (await self.container_of(host := await self.home(each), each.name))["Id"]
            there = set(map(int, (await host.docker("exec", box, "sh", "-c", each.numbers)).split()))
            assert sorted(set(known)) == known, f"{each.name} acknowledged a number twice"
            lost = sorted(set(known) - there)
            assert not lost, f"{each.name} lost {len(lost)} of {len(known)}: {lost[:10]}"
            command, wanted = each.check
            assert (await host.docker("exec", box, "sh", "-c", command)) == wanted


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Databases]:
    async with Databases("databases", hosts=3) as cluster:
        yield cluster


async def test_a_database_moves_with_all_that_it_has_acknowledged(swarm: Databases) -> None:
    await swarm.write_on()
    before = {each.name: await swarm.home(each) for each in DATABASES}
    await swarm.begin_moves()
    await swarm.at_rest()
    phases = {each["Name"]: each for each in await swarm.get("/swarm/transfers")}
    print(json.dumps(phases, indent=1))
    assert {each["Phase"] for each in phases.values()} == {"done"}
    await swarm.write_on()
    for each in DATABASES:
        assert await swarm.home(each) is not before[each.name]
    await swarm.check()


# --- faults -----------------------------------------------------------------------------------------------------------


async def _worker_dies(swarm: Databases, host: Host) -> None:
    swarm.workers[host.name].kill()
    await swarm.workers[host.name].wait()
    await swarm.start_worker(host)


async def _worker_hangs(swarm: Databases, host: Host) -> None:
    swarm.workers[host.name].kill(signal.SIGSTOP)
    await asyncio.sleep(_HANG_SECONDS)
    swarm.workers[host.name].kill(signal.SIGCONT)


async def _cable_is_cut(_: Databases, host: Host) -> None:
    await host.cut()
    await asyncio.sleep(_HANG_SECONDS)
    await host.mend()


async def _power_is_lost(swarm: Databases, host: Host) -> None:
    await host.reboot()
    await swarm.start_worker(host)


async def _manager_dies(swarm: Databases, _: Host) -> None:
    swarm.manager.kill()
    await swarm.manager.wait()
    await swarm.start_manager()


async def _manager_hangs(swarm: Databases, _: Host) -> None:
    swarm.manager.kill(signal.SIGSTOP)
    await asyncio.sleep(_HANG_SECONDS)
    swarm.manager.kill(signal.SIGCONT)


Fault = Callable[[Databases, Host], Awaitable[None]]
_OF_HOSTS: tuple[Fault, ...] = (_worker_dies, _worker_hangs, _cable_is_cut, _power_is_lost)
_CASES: list[tuple[str, str, Fault]] = [
    *itertools.product(("copying", "last"), ("source", "target"), _OF_HOSTS),
    *itertools.product(("copying", "last"), ("manager",), (_manager_dies, _manager_hangs)),
]


@pytest.mark.parametrize(("phase", "end", "fault"), _CASES[::STEP])
async def test_no_fault_loses_what_was_acknowledged(swarm: Databases, phase: str, end: str, fault: Fault) -> None:
    before = {each["ID"] for each in await swarm.get("/swarm/transfers")}
    source, target = await swarm.begin_moves()
    struck = await swarm.in_phase(phase)
    await fault(swarm, target if end == "target" else source)
    await swarm.at_rest()
    moves = [each for each in await swarm.get("/swarm/transfers") if each["ID"] not in before]
    ended = [(each["Name"], each["Phase"], each["Error"]) for each in moves]
    assert len(ended) == len(DATABASES), ended
    print(phase, end, fault.__name__, "struck" if struck else "came too late", ended)
    await swarm.write_on()
    await swarm.check()

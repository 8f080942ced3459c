"""Failover: seconds from a fault at the leading manager to the first change that another takes, and Docker Swarm's.

Both are on the same three engines in the same run, first Docker Swarm, then this project. A client asks the two other
managers for a change (a config of its own each time) every 0.1 s, and does not wait for answers: what counts is the
first one that says that it is done, from when the fault was there. Where the leader hands over, no change may fail, and
what counts is the slowest. Docker's managers are in dockerd, which its faults are done to; ours are processes
beside their etcd.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import Protocol

import aiohttp

from tests.bench.table import print_table
from tests.e2e.managers import STATUSES, Managers, read_statuses
from tests.lab import Host

ROUNDS = 20
ASK_SECONDS = 0.1
GIVEN_UP_SECONDS = 90.0
PLANNED_CHANGES = 30
_numbers = itertools.count()

Act = Callable[[Host], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """What is done to the leader's host, and how it is mended. `planned`: it hands over, and no change is to fail."""

    inject: Act
    mend: Act
    planned: bool = False


class Peers(Protocol):
    """Three managers, by whichever program."""

    @property
    def hosts(self) -> Sequence[Host]: ...
    @property
    def faults(self) -> Mapping[str, Fault]: ...

    def socket(self, host: Host) -> str:
        """Return the path of a manager's API."""

    async def settled(self) -> Host:
        """Return the leader, when all three managers answer."""


class Ours:
    """This project's managers."""

    def __init__(self, cluster: Managers) -> None:
        self._cluster = cluster
        self.hosts = cluster.hosts
        self.socket = cluster.socket
        start = cluster.start_manager
        self.faults = {
            "handed over": Fault(self._sends(SIGTERM), cluster.restart_manager, planned=True),
            "manager killed": Fault(self._sends(SIGKILL), start),
            "manager and etcd killed": Fault(self._sends(SIGKILL, both=True), start),
            "manager stopped": Fault(self._sends(SIGSTOP), self._sends(SIGCONT)),
            "both stopped": Fault(self._sends(SIGSTOP, both=True), self._sends(SIGCONT, both=True)),
            "etcd stopped": Fault(self._sends(SIGSTOP, manager=False), self._sends(SIGCONT, manager=False)),
            "network cut": Fault(Host.cut, Host.mend),
        }

    def _sends(self, sig: Signals, *, manager: bool = True, both: bool = False) -> Act:
        async def act(host: Host) -> None:
            if both or not manager:
                await self._cluster.signal_manager(host, sig, etcd=True)
            if manager:
                await self._cluster.signal_manager(host, sig)

        return act

    async def settled(self) -> Host:
        await self._cluster.all_reachable(timeout=GIVEN_UP_SECONDS)
        return await self._cluster.leader(self.hosts[0])


class DockerSwarm:
    """Docker's own managers, in the engines of three hosts."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        self.faults = {
            "manager killed": Fault(lambda host: host.stop_engine(SIGKILL), Host.start_engine),
            "manager stopped": Fault(_hang, _unhang),
            "network cut": Fault(Host.cut, Host.mend),
        }

    def socket(self, host: Host) -> str:
        return str(host.docker_sock)

    async def begin(self) -> None:
        first, *others = self.hosts
        await first.docker("swarm", "init", "--advertise-addr", first.ip)
        token = await first.docker("swarm", "join-token", "-q", "manager")
        for host in others:
            await host.docker("swarm", "join", "--advertise-addr", host.ip, "--token", token, f"{first.ip}:2377")

    async def end(self) -> None:
        for host in self.hosts:
            await host.docker("swarm", "leave", "--force")

    async def settled(self) -> Host:
        until = time.monotonic() + GIVEN_UP_SECONDS
        while time.monotonic() < until:
            said = [await self._statuses(host) for host in self.hosts]
            if all(sorted(each.values()) == ["Leader", "Reachable", "Reachable"] for each in said):
                return next(host for host in self.hosts if said[0][host.name] == "Leader")
            await asyncio.sleep(0.2)
        raise AssertionError(f"Docker Swarm's managers do not all answer: {said}")

    async def _statuses(self, host: Host) -> dict[str, str]:
        return read_statuses(await host.docker(*STATUSES, check=False))


async def _hang(host: Host) -> None:
    host.engine.hang()


async def _unhang(host: Host) -> None:
    host.engine.unhang()


async def _change(path: str) -> bool:
    """Ask a manager for a change; return whether it said that it is done."""
    body = {"Name": f"c{next(_numbers)}", "Data": "eA=="}
    try:
        connector = aiohttp.UnixConnector(path=path)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.post("http://manager/configs/create", json=body) as answer,
        ):
            return answer.status == 201
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


async def _first_change(paths: Sequence[str]) -> float:
    """Return when the first change was taken by one of the managers that are asked in turn, all the time."""
    asked: set[asyncio.Task[bool]] = set()
    turn = itertools.cycle(paths)
    until = time.perf_counter() + GIVEN_UP_SECONDS
    try:
        while time.perf_counter() < until:
            asked.add(asyncio.create_task(_change(next(turn))))
            done, asked = await asyncio.wait(asked, timeout=ASK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if any(each.result() for each in done):
                return time.perf_counter()
            if done:
                await asyncio.sleep(ASK_SECONDS)
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    raise AssertionError(f"no change was taken for {GIVEN_UP_SECONDS:g} s")


async def _slowest_change(paths: Sequence[str]) -> float:
    """Begin a change every `ASK_SECONDS`, for some seconds; return how long the slowest took.

    Raises:
        AssertionError: one was not taken.

    """

    async def change(path: str) -> float:
        began = time.perf_counter()
        assert await _change(path), "a change failed while the leadership was handed over"
        return time.perf_counter() - began

    asked = []
    for path, _ in zip(itertools.cycle(paths), range(PLANNED_CHANGES), strict=False):
        asked.append(asyncio.create_task(change(path)))
        await asyncio.sleep(ASK_SECONDS)
    return max(await asyncio.gather(*asked))


async def _measure(peers: Peers, name: str, rounds: int) -> list[float]:
    fault = peers.faults[name]
    found = []
    for _ in range(rounds):
        await _first_change([peers.socket(host) for host in peers.hosts])
        leader = await peers.settled()
        paths = [peers.socket(host) for host in peers.hosts if host is not leader]
        await fault.inject(leader)
        began = time.perf_counter()
        found.append(await _slowest_change(paths) if fault.planned else await _first_change(paths) - began)
        await fault.mend(leader)
    await peers.settled()
    return found


async def _all(peers: Peers, names: Sequence[str], rounds: int, title: str) -> list[list[object]]:
    rows: list[list[object]] = []
    for name in names:
        if name in peers.faults:
            found = await _measure(peers, name, rounds)
            rows.append([title, name, len(found), min(found), statistics.median(found), max(found)])
            print(*rows[-1], flush=True)
    return rows


class _After(Managers):
    """This project's managers, on engines that were Docker's swarm before."""

    def __init__(self, names: Sequence[str], rounds: int) -> None:
        super().__init__("failover", 3, client=False)
        self._measured = (names, rounds)
        self.rows: list[list[object]] = []

    async def begin(self) -> None:
        names, rounds = self._measured
        if rounds:
            swarm = DockerSwarm(self.hosts)
            await swarm.begin()
            self.rows += await _all(swarm, names, rounds, "Docker Swarm")
            await swarm.end()
        await super().begin()


async def _both(names: Sequence[str], rounds: int, docker_rounds: int) -> list[list[object]]:
    async with _After(names, docker_rounds) as cluster:
        return cluster.rows + await _all(Ours(cluster), names, rounds, "here")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run failover --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--docker-rounds", type=int, default=ROUNDS, help="0: without Docker Swarm")
    parser.add_argument("--faults", nargs="+", default=None, help="some of them; all unless given")
    options = parser.parse_args(argv)
    every = ("handed over", "manager killed", "manager and etcd killed", "manager stopped", "both stopped")
    names = options.faults or (*every, "etcd stopped", "network cut")
    rows = asyncio.run(_both(names, options.rounds, options.docker_rounds))
    print_table(
        "Seconds from the fault at the leader to the first change that another manager takes",
        ["managers", "fault at the leader", "rounds", "least", "median", "worst"],
        rows,
    )
    return 0

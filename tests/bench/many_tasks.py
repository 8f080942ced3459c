"""Many tasks: with 100,000 in the store of three managers, how long a join and a takeover take, and how much memory.

Three hosts of the lab, without engines and workers, so that all tasks wait for a node: what is measured is managers and
etcd. A join is from the command to a manager that answers with all services; a takeover from SIGKILL at the leader to a
change that a follower has passed on, and to the task that the next leader has made for it. On a machine that does other
things seconds say little: beside them is the CPU time, in seconds, that managers have taken meanwhile. With `--hogs`
so many processes want a processor all the time, at the managers' priority, while the leader is watched and replaced.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.table import print_table
from tests.e2e.managers import SOCKET, SOCKET_PATH
from tests.lab import Host, Lab, Process
from tests.lab.namespaces import children_of

TASKS, OF_A_SERVICE = 100_000, 1_000
READY = 120.0
PATIENCE = 600.0
PAUSE = 0.02
# It is seen for so long whether a leader stays.
WATCHED = 30.0
# The fields of /proc/PID/stat behind the command's name.
_USER, _SYSTEM = 11, 12


def service(name: str, replicas: int) -> dict[str, Any]:
    template = {"ContainerSpec": {"Image": "web:lab", "Env": [f"SERVICE={name}"]}}
    return {"Name": name, "TaskTemplate": template, "Mode": {"Replicated": {"Replicas": replicas}}}


async def call(host: Host, method: str, path: str, body: Any = None) -> Any:
    """Ask the manager of a host; None when it refuses or cannot be reached."""
    connector = aiohttp.UnixConnector(path=f"/proc/{host.pid}/root{SOCKET_PATH}")
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        try:
            async with http.request(method, f"http://manager{path}", json=body) as answer:
                return await answer.json() if answer.status < 300 else None
        except (aiohttp.ClientError, OSError):
            return None


async def make(host: Host, name: str, replicas: int) -> None:
    """Make a service; ask again while no manager takes it, as when a slow commit has cost the leader its place."""
    began = time.perf_counter()
    while not await call(host, "POST", "/services/create", service(name, replicas)):
        if await call(host, "GET", f"/services/{name}"):
            return  # it was made without an answer
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError(f"{name} was not made within {PATIENCE:g} s")
        await asyncio.sleep(PAUSE)


async def tasks_of(host: Host, name: str) -> int:
    found = await call(host, "GET", f"/tasks?filters={json.dumps({'service': [name]})}")
    return len(found or ())


async def until(host: Host, name: str, count: int) -> None:
    """Wait until a service has so many tasks."""
    began = time.perf_counter()
    while await tasks_of(host, name) < count:
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError(f"{name} has not {count} tasks after {PATIENCE:g} s")
        await asyncio.sleep(PAUSE)


def megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024


def cpu_seconds(*pids: int) -> float:
    """Return the CPU time that processes have taken since they began."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(each[_USER]) + int(each[_SYSTEM]) for each in fields) / os.sysconf("SC_CLK_TCK")


async def join(first: Host, joining: Host) -> tuple[Process, float]:
    token = (await first.run("swarm-manager", "-H", SOCKET, "join-token", "-q", "manager")).stdout.strip()
    began = time.perf_counter()
    command = ("swarm-manager", "join", "--foreground", "--token", token, f"{first.ip}:2377")
    process = await joining.spawn(*command, name="manager", ready=READY)
    while not await call(joining, "GET", "/services"):
        await asyncio.sleep(PAUSE)
    return process, time.perf_counter() - began


def takeovers(managers: Sequence[Process]) -> int:
    """Return how often the leadership went from one of these to another, or came back."""
    return sum(each.output().count("this manager leads from") for each in managers) - 1


@contextlib.contextmanager
def hogs(count: int) -> Iterator[None]:
    """Keep so many processes busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


async def measure(tasks: int, hog_count: int, watched: float) -> list[list[object]]:
    rows: list[list[object]] = []
    async with Lab("many-tasks", hosts=3, client=False, engine=False) as lab:
        first, second, third = lab.hosts
        init = ("swarm-manager", "init", "--store", "etcd", "--foreground", "--advertise-addr", first.ip)
        leader = await first.spawn(*init, name="manager", ready=READY)
        began = time.perf_counter()
        names = [f"s{number}" for number in range(tasks // OF_A_SERVICE)]
        for name in names:
            await make(first, name, OF_A_SERVICE)
        for name in names:
            await until(first, name, OF_A_SERVICE)
        rows.append([f"{tasks:,} tasks made and stored, s", time.perf_counter() - began])
        followers = []
        for word, host in (("second", second), ("third", third)):
            process, took = await join(first, host)
            followers.append(process)
            (etcd,) = children_of(process.pid)
            rows.append([f"the {word} manager joins, s", took])
            rows.append([f"CPU of the {word} manager meanwhile, s", cpu_seconds(process.pid)])
            rows.append(["CPU of its etcd meanwhile, s", cpu_seconds(etcd)])
        for word, process in (("leader", leader), ("follower", followers[0])):
            (etcd,) = children_of(process.pid)
            rows += [[f"memory of the {word}, MB", megabytes(process.pid)]]
            rows += [[f"memory of the {word}'s etcd, MB", megabytes(etcd)]]
        rows.append(["takeovers until then", takeovers([leader, *followers])])
        with hogs(hog_count):
            before = takeovers([leader, *followers])
            await asyncio.sleep(watched)
            after = takeovers([leader, *followers]) - before
            rows.append([f"takeovers in {watched:g} s beside {hog_count} hogs", after])
            rows += await take_over(leader, second, [each.pid for each in followers])
            await asyncio.sleep(WATCHED)
            rows.append([f"takeovers, {WATCHED:g} s later", takeovers([leader, *followers])])
    return rows


async def take_over(leader: Process, asked: Host, others: Sequence[int]) -> list[list[object]]:
    """Kill the leader; measure how long the others take for a change, and for the decision on it."""
    leader.kill(signal.SIGKILL)
    began, taken = time.perf_counter(), cpu_seconds(*others)
    rows: list[list[object]] = []
    for word, done in (("change", make), ("decision", until)):
        await done(asked, "after", 1)
        rows.append([f"leader killed to the first {word}, s", time.perf_counter() - began])
        rows.append(["CPU of both others meanwhile, s", cpu_seconds(*others) - taken])
    return rows


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run many_tasks --", description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--hogs", type=int, default=0, help="processes that only compute beside")
    parser.add_argument("--watched", type=float, default=WATCHED, help="seconds before the leader is killed")
    options = parser.parse_args(argv)
    rows = asyncio.run(measure(options.tasks, options.hogs, options.watched))
    print_table(f"Three managers with {options.tasks:,} tasks", ["what", "measured"], rows)
    return 0

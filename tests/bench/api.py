"""API: latency of lists and inspects beside a Docker engine's, and a list of 10,000 tasks.

The manager's API runs in a process of its own (uvloop, store in memory) and is asked over its unix socket by one client
on one kept connection; so is the engine, when run as root (in swarm mode, with as many services and tasks, its tasks
pending). "Loop held" is the longest time that the API's event loop computed without a break while the list was made,
in CPU time of its thread.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import uvloop

from common.clock import SystemClock
from common.ids import new_id
from common.model import Service, Task, TaskState, TaskStatus
from common.model.container import ContainerSpec
from common.model.network import IpamConfig, Network, NetworkSpec
from common.model.service import NetworkAttachmentConfig, Replicated, ServiceMode, ServiceSpec, TaskSpec
from common.model.task import ContainerStatus
from manager.api.access.audit_file import AuditFile
from manager.api.app import Api
from manager.api.context import Identity, ThisManager
from manager.api.http.server import serve
from manager.ca.authority import Authority, create_root
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from manager.store.transaction import Transaction
from tests.bench.table import print_table
from tests.fakes.api_cluster import MANAGER, WORKER1, fill
from tests.fakes.docker_engine import FakeEngines

SERVICES, TASKS = 5, 20
REQUESTS = 2000
TARGET_MS = 1.0
TARGET_HELD_MS = 20.0


# --- the server's process ---------------------------------------------------------------------------------------------


def _fill(tx: Transaction, services: int, tasks: int, rng: random.Random) -> None:
    fill(tx)
    network = Network(
        id=new_id(rng), spec=NetworkSpec(name="net"), subnets=(IpamConfig(subnet="10.7.0.0/24", gateway="10.7.0.1"),)
    )
    tx.put(network)
    for number in range(services):
        template = TaskSpec(
            container_spec=ContainerSpec(image="busybox", args=("sleep", "1000"), env=("A=b", "C=d")),
            networks=(NetworkAttachmentConfig(target=network.id),),
        )
        mode = ServiceMode(replicated=Replicated(replicas=tasks // services))
        service = Service(id=new_id(rng), spec=ServiceSpec(name=f"s{number}", task_template=template, mode=mode))
        tx.put(service)
        for slot in range(1, tasks // services + 1):
            tx.put(_task(service, slot, network.id, rng, tx.now))


def _task(service: Service, slot: int, network_id: str, rng: random.Random, now: float) -> Task:
    return Task(
        id=new_id(rng),
        spec=service.spec.task_template,
        service_id=service.id,
        service_name=service.name,
        slot=slot,
        node_id=WORKER1,
        desired_state=TaskState.RUNNING,
        status=TaskStatus(
            timestamp=now,
            state=TaskState.RUNNING,
            message="started",
            container_status=ContainerStatus(container_id="c" * 64, pid=1),
            addresses={network_id: f"10.7.0.{slot % 250}"},
        ),
    )


async def _leave() -> None:
    raise NotImplementedError("the benchmark's cluster does not end")


async def _serve(path: Path, services: int, tasks: int) -> None:
    """Serve until stdin ends; answer each line with the longest time (ms) that the loop was held since the last."""
    rng, clock = random.Random(1), SystemClock()
    async with Store(MemoryBackend(), clock) as store:
        await store.update(lambda tx: _fill(tx, services, tasks, rng))
        identity = Identity(MANAGER, "10.1.0.1:2377", "bench")
        engines = FakeEngines(path.parent)
        authority = Authority(create_root(store.view.cluster.id, clock.now()))
        audit = AuditFile(path.parent / "audit.log")
        api = Api(store, clock, rng, engines, authority, ThisManager(identity=identity, leave=_leave), audit)
        async with api, serve(api, [f"unix://{path}"]):
            await _answer_questions()


async def _answer_questions() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while await reader.readline():
        stop = asyncio.Event()
        watching = asyncio.create_task(_held(stop))
        print("watching", flush=True)
        await reader.readline()
        stop.set()
        print(await watching * 1000, flush=True)


async def _held(stop: asyncio.Event) -> float:
    longest = 0.0
    while not stop.is_set():
        before = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    return longest


# --- the client -------------------------------------------------------------------------------------------------------


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = self.getresponse()
        data = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {data[:200]!r}")
        return data


@contextmanager
def server(services: int, tasks: int) -> Iterator[tuple[Path, Popen[str]]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder, "api.sock")
        command = [sys.executable, "-m", "tests.bench.api", str(path), str(services), str(tasks)]
        with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield path, process
            process.stdin.close()
            process.wait(10)


def _latencies(path: Path, request: str, count: int) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds."""
    connection = _Connection(path)
    times = []
    for number in range(count + 50):
        started = time.perf_counter()
        connection.ask("GET", request)
        if number >= 50:
            times.append((time.perf_counter() - started) * 1000)
    connection.close()
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def _many(path: Path, process: Popen[str]) -> tuple[float, float, float]:
    """List all tasks; return seconds, megabytes and the milliseconds that the loop was held at most."""
    assert process.stdin is not None
    assert process.stdout is not None
    connection = _Connection(path)
    connection.ask("GET", "/tasks?limit=warm-up")
    process.stdin.write("watch\n")
    process.stdin.flush()
    assert process.stdout.readline() == "watching\n"
    started = time.perf_counter()
    size = len(connection.ask("GET", "/tasks"))
    seconds = time.perf_counter() - started
    process.stdin.write("stop\n")
    process.stdin.flush()
    held = float(process.stdout.readline())
    connection.close()
    return seconds, size / 1e6, held


PATHS = ("/_ping", "/services", "/services?status=true", "/services/s0", "/tasks", "/nodes")


async def _engine_latencies(count: int) -> dict[str, tuple[float, float]]:
    """Ask a Docker engine in swarm mode, with as many services and tasks, the same."""
    from tests.lab import plain_engine

    async with plain_engine() as host:
        await host.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        await host.docker("network", "create", "-d", "overlay", "net")
        for number in range(SERVICES):
            where = ("--network", "net", "--replicas", str(TASKS // SERVICES), "--constraint", "node.role==worker")
            what = ("--detach", "--no-resolve-image", "--name", f"s{number}", *where, "busybox", "sleep", "1000")
            await host.docker("service", "create", *what)
        found: dict[str, tuple[float, float]] = {}
        for request in PATHS:
            found[request] = await asyncio.to_thread(_latencies, host.docker_sock, request, count)
        return found


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run api", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1000, 10_000, 100_000])
    options = parser.parse_args(argv)
    engine = asyncio.run(_engine_latencies(options.requests)) if os.geteuid() == 0 else {}
    rows = []
    with server(SERVICES, TASKS) as (path, _):
        for request in PATHS:
            p50, p99 = _latencies(path, request, options.requests)
            theirs = engine.get(request)
            rows.append((request, p50, p99, *(theirs or ("-", "-")), p50 / theirs[0] if theirs else "-"))
    headings = ("GET", "p50 ms", "p99 ms", "Docker p50", "Docker p99", "ratio")
    notes = (f"target: /services and /tasks p50 under {TARGET_MS:g} ms",)
    print_table(f"{SERVICES} services, {TASKS} tasks, 3 nodes; {options.requests} requests", headings, rows, notes)
    rows = []
    for tasks in options.tasks:
        with server(SERVICES, tasks) as (path, process):
            rows.append((tasks, *_many(path, process)))
    headings = ("tasks", "seconds", "MB", "loop held ms")
    print_table("GET /tasks", headings, rows, (f"target: 10,000 without holding the loop over {TARGET_HELD_MS:g} ms",))
    return 0


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

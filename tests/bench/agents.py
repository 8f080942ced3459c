"""Agents: 5,000 simulated workers over real TLS connections: heartbeats, and 100,000 tasks from create to running.

The manager is the real daemon in a process of its own: SQLite, loops, scheduler, dispatcher, API. The agents share one
other process and say RUNNING of a task as soon as they are given it, so that what is timed is the manager: from the
POST that creates the service to the last acknowledged report. Both processes share this machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import resource
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop

from common.clock import SystemClock
from common.model import Node, TaskState, TaskStatus
from common.model.cluster import CAConfig
from common.model.node import EngineDescription, NodeDescription, NodeResources, NodeStatus, Plugin
from common.model.service import Platform
from common.tls import ROLE_WORKER, Identity, certificate_request, new_key, pinned_context
from common.wire.channel import Channel, ChannelClosed
from common.wire.client import open_session
from common.wire.messages import (
    PROTOCOL_VERSION,
    Assignments,
    Heartbeat,
    Hello,
    StatusAck,
    StatusReport,
    TaskReport,
)
from manager.bootstrap import create_cluster
from manager.ca.authority import Authority, new_serial
from manager.ca.migration import load_keyring
from manager.config import DataDir, ManagerConfig
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store
from tests.bench.table import print_table

PORT = 23770
IDLE_SECONDS = 15.0
# Few, so that the handshakes of new agents do not hold up the heartbeats of those that are there.
DIALS_AT_ONCE = 16
OPEN_FILES = 1000

DESCRIPTION = NodeDescription(
    hostname="agent",
    platform=Platform(architecture="x86_64", os="linux"),
    resources=NodeResources(nano_cpus=64_000_000_000, memory_bytes=1 << 38),
    engine=EngineDescription(engine_version="26.1.5", plugins=(Plugin(type="Network", name="overlay"),)),
)

HELLO = Hello(protocol=PROTOCOL_VERSION, description=DESCRIPTION, advertise_addr="127.0.0.1")


@dataclass(frozen=True)
class Sample:
    """The manager at one instant: CPU seconds used so far, memory in bytes, and the wall clock."""

    cpu: float
    rss: int
    at: float

    @classmethod
    def of(cls, pid: int) -> Sample:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"), time.monotonic())


@dataclass
class Fleet:
    """All agents: their channels, and how many tasks they have had acknowledged as running."""

    channels: list[Channel] = field(default_factory=list)
    running: int = 0
    heartbeats: int = 0
    lost: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def agent(self, place: int, context: ssl.SSLContext) -> None:
        """Serve a connection; dial again when it ends, as a worker does."""
        acknowledged: set[str] = set()
        while True:
            try:
                await self._serve(self.channels[place], acknowledged)
            except ChannelClosed as error:
                self.lost.append(error.message)
                self.channels[place], _ = await open_session("127.0.0.1", PORT, context, HELLO)

    async def _serve(self, channel: Channel, acknowledged: set[str]) -> None:
        """Take assignments and report them as running, until the connection ends."""
        open_reports: dict[int, set[str]] = {}
        number = 0
        while True:
            frame = await channel.receive()
            match frame.message:
                case Assignments(tasks=tasks) if tasks:
                    number += 1
                    open_reports[number] = {task.id for task in tasks}
                    await channel.send(_running(tasks), number)
                case StatusAck():
                    fresh = open_reports.pop(frame.id) - acknowledged
                    acknowledged |= fresh
                    self.running += len(fresh)
                    self.changed.set()

    async def beat(self) -> None:
        """Send every agent's heartbeat once a second, spread over the second."""
        loop = asyncio.get_running_loop()
        slots = 100
        while True:
            started = loop.time()
            for slot in range(slots):
                for channel in self.channels[slot::slots]:
                    with contextlib.suppress(ChannelClosed):
                        await channel.send(Heartbeat())
                        self.heartbeats += 1
                await asyncio.sleep(max(0.0, started + (slot + 1) / slots - loop.time()))

    async def all_running(self, tasks: int) -> None:
        while self.running < tasks:
            self.changed.clear()
            await self.changed.wait()


def _running(tasks: Sequence[object]) -> StatusReport:
    status = TaskStatus(timestamp=time.time(), state=TaskState.RUNNING, message="started")
    return StatusReport(tasks=tuple(TaskReport(task_id=task.id, status=status) for task in tasks))  # type: ignore[attr-defined]


def contexts(authority: Authority, count: int, folder: Path) -> tuple[list[Node], list[ssl.SSLContext]]:
    """Make nodes and a TLS context for each, as if they had joined."""
    nodes, result = [], []
    path = folder / "agent.pem"
    for number in range(count):
        key, serial = new_key(), new_serial()
        identity = Identity(f"node{number:021}", ROLE_WORKER, authority.cluster_id, serial)
        chain = authority.issue(certificate_request(key), identity, CAConfig().node_cert_expiry, time.time())
        path.write_bytes(chain + key)
        context = pinned_context(authority.root_certificate)
        context.load_cert_chain(path)
        result.append(context)
        nodes.append(
            Node(
                id=identity.node_id,
                agent=True,
                certificate_serials=(serial,),
                description=DESCRIPTION,
                status=NodeStatus(state="unknown", addr="127.0.0.1"),
            )
        )
    return nodes, result


async def connect(
    fleet: Fleet, group: asyncio.TaskGroup, clients: Sequence[ssl.SSLContext]
) -> list[asyncio.Task[None]]:
    gate = asyncio.Semaphore(DIALS_AT_ONCE)

    async def one(context: ssl.SSLContext) -> None:
        async with gate:
            channel, _ = await open_session("127.0.0.1", PORT, context, HELLO)
        fleet.channels.append(channel)
        agents.append(group.create_task(fleet.agent(len(fleet.channels) - 1, context)))

    agents: list[asyncio.Task[None]] = []
    await asyncio.gather(*(one(context) for context in clients))
    return agents


async def create(api: aiohttp.ClientSession, tasks: int) -> None:
    spec = {
        "Name": "bench",
        "TaskTemplate": {"ContainerSpec": {"Image": "busybox:latest"}},
        "Mode": {"Replicated": {"Replicas": tasks}},
    }
    async with api.post("http://manager/v1.41/services/create", json=spec) as response:
        text = await response.text()
        assert response.status == 201, text


async def answering(api: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        try:
            async with api.get("http://manager/_ping") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    raise RuntimeError("the manager did not start")


async def prepare(folder: Path, agents: int) -> list[ssl.SSLContext]:
    """Make the cluster in a data directory, with all agents as nodes that have joined."""
    data = DataDir(folder / "data")
    address = f"127.0.0.1:{PORT}"
    config = ManagerConfig(
        node_id="manager", advertise_addr=address, listen_addr=address, hosts=(f"unix://{folder}/api.sock",)
    )
    clock = SystemClock()
    await create_cluster(data, config, ["10.0.0.0/8"], clock, random.SystemRandom())
    async with Store(SqliteBackend(data.store, load_keyring(data).seal()), clock) as store:
        nodes, clients = contexts(Authority.stored(store.view), agents, folder)
        await store.update(lambda tx: [tx.put(node) for node in nodes])
    return clients


@contextlib.asynccontextmanager
async def manager_running(folder: Path) -> AsyncIterator[tuple[int, aiohttp.ClientSession]]:
    """Run the manager that `prepare` made in a folder; yield its process id, and a client of its API.

    What a block raises is preceded by the end of the manager's log.
    """
    with (folder / "manager.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "manager.main", "run", "--data-dir", str(folder / "data"), stdout=log, stderr=log
        )
    try:
        connector = aiohttp.UnixConnector(f"{folder}/api.sock")
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as api:
            await answering(api, process)
            yield process.pid, api
    except BaseException:
        print((folder / "manager.log").read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        process.kill()
        await process.wait()


async def measure(folder: Path, agents: int, tasks: int) -> list[tuple[str, float, float, float, float]]:
    clients = await prepare(folder, agents)
    async with manager_running(folder) as (pid, api):
        return await phases(pid, api, clients, tasks)


async def phases(
    pid: int, api: aiohttp.ClientSession, clients: Sequence[ssl.SSLContext], tasks: int
) -> list[tuple[str, float, float, float, float]]:
    fleet = Fleet()
    rows = []
    idle = before = Sample.of(pid)

    def row(name: str, count: int) -> None:
        nonlocal before
        now = Sample.of(pid)
        wall, cpu = now.at - before.at, now.cpu - before.cpu
        per_node = (now.rss - idle.rss) / len(clients) / 1024
        rows.append((name, wall, count / wall, 100 * cpu / wall, now.rss / 2**20, per_node))
        before = now

    async with asyncio.TaskGroup() as group:
        beating = group.create_task(fleet.beat())
        row("idle manager", 0)
        agents = await connect(fleet, group, clients)
        row("sessions opened", len(clients))
        beats = fleet.heartbeats
        await asyncio.sleep(IDLE_SECONDS)
        row("heartbeats only", fleet.heartbeats - beats)
        await create(api, tasks)
        await fleet.all_running(tasks)
        row("tasks, create to running", tasks)
        beats = fleet.heartbeats
        await asyncio.sleep(IDLE_SECONDS)
        row("heartbeats again", fleet.heartbeats - beats)
        for task in (beating, *agents):
            task.cancel()
        for channel in fleet.channels:
            channel.abort()  # type: ignore[attr-defined]
    if fleet.lost:
        print(f"connections lost and dialled again: {len(fleet.lost)}; this machine is too busy for so many agents")
    return rows


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="agents", description=__doc__)
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--tasks", type=int, default=100_000)
    options = parser.parse_args(argv)
    wanted = options.agents + OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        print(f"this needs {wanted} open files, the limit is {hard}: raise it, or give --agents", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with tempfile.TemporaryDirectory(prefix="bench-agents-") as folder:
        rows = uvloop.run(measure(Path(folder), options.agents, options.tasks))
    print_table(
        f"{options.agents:,} agents, {options.tasks:,} tasks",
        ["phase", "seconds", "a second", "manager CPU %", "manager RSS MiB", "KiB a node"],
        rows,
        ["CPU in percent of one core; KiB a node is the RSS above the idle manager's, over all nodes"],
    )
    return 0

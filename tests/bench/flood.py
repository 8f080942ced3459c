"""Flood: what one flooding node among 100 does to the API's latency and to the other nodes, flood by flood.

The manager is the real daemon in a process of its own; so are the flooding node, which does what `FLOODS` lists, and
the client of the API, which asks 100 times a second, as far as it is answered. The other nodes are agents that beat
once a second and have tasks. Before each flood there is a time without one. "Flaps" counts the other nodes that were
said to be down, or whose connection was lost; "openings" how often the flooding node connected.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import signal
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import NamedTuple

import aiohttp
import uvloop

from common.errors import SwarmError
from common.model import TaskState, TaskStatus
from common.model.node import EngineDescription, Plugin
from common.tls import MANAGER_NAME, certificate_request, new_key, pinned_context
from common.wire.channel import Channel
from common.wire.codec import encode
from common.wire.messages import (
    Assignments,
    Heartbeat,
    NodeReport,
    RenewRequest,
    Resync,
    StatusReport,
    StreamHello,
    TaskReport,
)
from common.wire.stream import StreamChannel
from tests.bench.agents import DESCRIPTION, HELLO, PORT, Fleet, Sample, connect, create, manager_running, prepare
from tests.bench.table import print_table

NODES = 100
TASKS = 400
FLOODER = f"node{NODES - 1:021}"
SECONDS = 20.0
SETTLE_SECONDS = 5.0
ASK_SECONDS = 0.01
TARGET = 2.0
# Neither end of it is another node's.
SOURCE = "127.0.0.2"
# None that asks the nodes: they have no engines here.
PATHS = ("/v1.41/services", "/v1.41/nodes", "/v1.41/networks", "/_ping")
CONNECTIONS_AT_ONCE = 8


class Latency(NamedTuple):
    """Of all requests: milliseconds."""

    p50: float
    p99: float
    worst: float


# --- the client of the API: a process of its own ----------------------------------------------------------------------


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("manager", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _ask(path: str, seconds: float) -> None:
    """Ask at a steady pace, one request after another, and print how long the answers took."""
    connection = _Connection(path)
    taken = []
    over = time.perf_counter() + seconds
    while (began := time.perf_counter()) < over:
        connection.request("GET", PATHS[len(taken) % len(PATHS)])
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        took = time.perf_counter() - began
        taken.append(took * 1000)
        time.sleep(max(0.0, ASK_SECONDS - took))
    print(json.dumps((statistics.median(taken), statistics.quantiles(taken, n=100)[98], max(taken))))


# --- the flooding node: a process of its own --------------------------------------------------------------------------


class Flooder:
    """A node's certificate, and what can be done with it."""

    def __init__(self, folder: Path) -> None:
        self._context = pinned_context((folder / "root.pem").read_bytes())
        self._context.load_cert_chain(folder / "agent.pem")
        self.openings = 0

    async def dial(self) -> StreamChannel:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[StreamChannel] = loop.create_future()
        self.openings += 1
        await loop.create_connection(
            lambda: StreamChannel(opened.set_result),
            "127.0.0.1",
            PORT,
            ssl=self._context,
            server_hostname=MANAGER_NAME,
            local_addr=(SOURCE, 0),
        )
        return await opened

    @asynccontextmanager
    async def session(self) -> AsyncIterator[tuple[asyncio.Transport, list[str]]]:
        """Open a session; give its transport, and the ids of this node's tasks."""
        channel = await self.dial()
        try:
            await channel.send(HELLO, 1)
            tasks: list[str] = []
            while not tasks:
                message = (await channel.receive()).message
                tasks = [task.id for task in message.tasks] if isinstance(message, Assignments) else []
            reading = asyncio.create_task(_drain(channel))
            assert channel._transport is not None
            try:
                yield channel._transport, tasks
            finally:
                reading.cancel()
        finally:
            channel.abort()

    async def pour(self, frames: Callable[[Sequence[str]], Iterator[bytes]]) -> None:
        """Write as fast as the socket takes it, until the connection ends."""
        async with self.session() as (transport, tasks):
            for frame in frames(tasks):
                transport.write(frame)
                while transport.get_write_buffer_size() > 1 << 20 and not transport.is_closing():
                    await asyncio.sleep(0.001)
                if transport.is_closing():
                    return

    async def storm(self, first: Callable[[StreamChannel], Awaitable[None]]) -> None:
        """Connect, say something, and connect again, a few at once."""

        async def one() -> None:
            while True:
                with contextlib.suppress(OSError, SwarmError):
                    channel = await self.dial()
                    await first(channel)
                    channel.abort()

        await asyncio.gather(*(one() for _ in range(CONNECTIONS_AT_ONCE)))


async def _drain(channel: Channel) -> None:
    with contextlib.suppress(SwarmError):
        while True:
            await channel.receive()


def _heartbeats(_: Sequence[str]) -> Iterator[bytes]:
    return itertools.repeat(encode(Heartbeat()) * 1000)


def _resyncs(_: Sequence[str]) -> Iterator[bytes]:
    return itertools.repeat(encode(Resync()))


def _renewals(_: Sequence[str]) -> Iterator[bytes]:
    return itertools.repeat(encode(RenewRequest(csr=certificate_request(new_key())), 1))


def _small_reports(tasks: Sequence[str]) -> Iterator[bytes]:
    for number in itertools.count(1):
        yield encode(_report(tasks, number), number)


def _large_reports(tasks: Sequence[str]) -> Iterator[bytes]:
    for number in itertools.count(1):
        rounds = [_report(tasks, 1000 * number + each).tasks for each in range(500 // len(tasks))]
        yield encode(StatusReport(tasks=tuple(itertools.chain.from_iterable(rounds))), number)


def _report(tasks: Sequence[str], number: int) -> StatusReport:
    status = TaskStatus(timestamp=time.time(), state=TaskState.RUNNING, message=f"news {number}")
    return StatusReport(tasks=tuple(TaskReport(task_id=task_id, status=status) for task_id in tasks))


def _descriptions(size: int) -> Callable[[Sequence[str]], Iterator[bytes]]:
    def frames(_: Sequence[str]) -> Iterator[bytes]:
        for number in itertools.cycle((1, 2)):
            plugins = (Plugin(type="Network", name=f"n{number}"),) * (size // 30)
            engine = EngineDescription(engine_version="26.1.5", plugins=plugins)
            description = type(DESCRIPTION)(hostname="agent", engine=engine, resources=DESCRIPTION.resources)
            yield encode(NodeReport(description=description))

    return frames


async def _bogus_stream(channel: StreamChannel) -> None:
    await channel.send(StreamHello(stream_id="0" * 25))
    await channel.receive()


async def _hello(channel: StreamChannel) -> None:
    await channel.send(HELLO, 1)
    await channel.receive()


MESSAGE_FLOODS: dict[str, Callable[[Sequence[str]], Iterator[bytes]]] = {
    "heartbeats": _heartbeats,
    "small reports": _small_reports,
    "large reports": _large_reports,
    "reports of 60 KiB": _descriptions(60 << 10),
    "reports of 15 MiB": _descriptions(15 << 20),
    "resyncs": _resyncs,
    "renewals": _renewals,
}
CONNECTION_FLOODS: dict[str, Callable[[StreamChannel], Awaitable[None]]] = {
    "bogus streams": _bogus_stream,
    "sessions": _hello,
}
FLOODS = (*MESSAGE_FLOODS, *CONNECTION_FLOODS)


async def _flood(folder: Path, name: str) -> None:
    """Flood until told to stop; then print how often it connected."""
    flooder = Flooder(folder)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.set_exception_handler(lambda *_: None)  # connections that are refused end in all sorts of ways
    flooding = asyncio.create_task(_flooding(flooder, name))
    await stopped.wait()
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)
    print(flooder.openings)


async def _flooding(flooder: Flooder, name: str) -> None:
    while name in CONNECTION_FLOODS:
        await flooder.storm(CONNECTION_FLOODS[name])
    while True:
        with contextlib.suppress(OSError, SwarmError):
            await flooder.pour(MESSAGE_FLOODS[name])
        await asyncio.sleep(0.01)


# --- the measurement --------------------------------------------------------------------------------------------------


class Bench:
    """A manager with its nodes."""

    def __init__(self, folder: Path, pid: int, fleet: Fleet) -> None:
        self._folder = folder
        self._pid = pid
        self._fleet = fleet

    async def latency(self, seconds: float) -> Latency:
        arguments = ("-m", "tests.bench.flood", "ask", f"{self._folder}/api.sock", str(seconds))
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE)
        out, _ = await process.communicate()
        return Latency(*json.loads(out))

    async def row(self, name: str, seconds: float) -> tuple[object, ...]:
        """Measure without a flood, and with one."""
        quiet = await self.latency(seconds)
        flaps = self._flaps()
        arguments = ("-m", "tests.bench.flood", "flood", str(self._folder), name)
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE)
        before = Sample.of(self._pid)
        flooded = await self.latency(seconds)
        after = Sample.of(self._pid)
        process.terminate()
        out, _ = await process.communicate()
        flaps = self._flaps() - flaps
        await asyncio.sleep(SETTLE_SECONDS)
        cpu = 100 * (after.cpu - before.cpu) / (after.at - before.at)
        ratio = flooded.p99 / quiet.p99
        return (name, *quiet, *flooded, ratio, flaps, cpu, after.rss / 2**20, int(out))

    def _flaps(self) -> int:
        log = (self._folder / "manager.log").read_text()
        down = [line for line in log.splitlines() if " is down: " in line and FLOODER not in line]
        return len(down) + len(self._fleet.lost)


async def measure(folder: Path, floods: Sequence[str], seconds: float) -> list[tuple[object, ...]]:
    clients = await prepare(folder, NODES)  # leaves the last node's certificate in agent.pem: the flooding one's
    (folder / "root.pem").write_bytes((folder / "data" / "certificates" / "root.crt").read_bytes())
    async with manager_running(folder) as (pid, api):
        return await _measure(folder, pid, api, clients, floods, seconds)


async def _create_for_flooder(api: aiohttp.ClientSession) -> None:
    """Have tasks that only the flooding node may get."""
    spec = {
        "Name": "flooded",
        "TaskTemplate": {
            "ContainerSpec": {"Image": "busybox:latest"},
            "Placement": {"Constraints": [f"node.id=={FLOODER}"]},
        },
        "Mode": {"Replicated": {"Replicas": 5}},
    }
    async with api.post("http://manager/v1.41/services/create", json=spec) as response:
        assert response.status == 201, await response.text()


async def _measure(
    folder: Path,
    pid: int,
    api: aiohttp.ClientSession,
    clients: Sequence[ssl.SSLContext],
    floods: Sequence[str],
    seconds: float,
) -> list[tuple[object, ...]]:
    fleet = Fleet()
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(fleet.beat())
        agents = await connect(fleet, group, clients[:-1])
        await create(api, TASKS)
        await fleet.all_running(TASKS)
        await _create_for_flooder(api)
        await asyncio.sleep(SETTLE_SECONDS)
        bench = Bench(folder, pid, fleet)
        rows = [await bench.row(name, seconds) for name in floods]
        for task in (beating, *agents):
            task.cancel()
        for channel in fleet.channels:
            channel.abort()  # type: ignore[attr-defined]
    return rows


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--floods", nargs="+", choices=FLOODS, default=FLOODS)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-flood-") as folder:
        rows = uvloop.run(measure(Path(folder), options.floods, options.seconds))
    headings = (
        "flood",
        "p50",
        "p99",
        "worst",
        "p50 then",
        "p99 then",
        "worst",
        "ratio",
        "flaps",
        "CPU %",
        "MiB",
        "openings",
    )
    notes = (
        f"milliseconds of {1 / ASK_SECONDS:g} requests a second to the API, without and with the flood",
        f"target: the p99 is at most {TARGET:g} times as long, and no other node flaps",
    )
    print_table(f"one flooding node among {NODES}", headings, rows, notes)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        _ask(sys.argv[2], float(sys.argv[3]))
    else:
        uvloop.run(_flood(Path(sys.argv[2]), sys.argv[3]))

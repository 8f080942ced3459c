"""Redis: how long a client is without it while it is moved with 200 MB and 1,000 writes a second, beside a restart.

Two hosts of the lab; the client writes through the routing mesh, one write after the other. Downtime is from the last
write that was acknowledged to the first one after it. A restart in place (`service update --force`) is what the
program's own stop and start take. Needs redis-server on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench.table import print_table
from tests.e2e.cluster import Cluster
from tests.e2e.databases.images import REDIS, archive
from tests.lab.process import all_at_once

ROUNDS = 3
VALUE_BYTES = 1024
WRITES_A_SECOND = 1000
PORT = 6379
SERVER = (
    "exec redis-server --dir /data --appendonly yes --save '' --enable-debug-command yes --protected-mode no "
    "--bind 0.0.0.0 --loglevel warning"
)
# Writes, and says at what instant each outage began and ended.
CLIENT = """
import socket, sys, time
address, pause = (sys.argv[1], int(sys.argv[2])), 1 / float(sys.argv[3])
last = time.time()
while True:
    try:
        with socket.create_connection(address, 0.25) as server:
            server.settimeout(0.25)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                server.sendall(b"SET written " + str(time.time()).encode() + b"\\r\\n")
                if not server.recv(64).startswith(b"+OK"):
                    break
                now = time.time()
                if now - last > 0.1:
                    print(last, now, flush=True)
                last = now
                time.sleep(pause)
    except OSError:
        time.sleep(0.02)
"""


async def _measure(megabytes: int, rounds: int) -> None:
    database = replace(REDIS, programs=("/usr/bin/redis-server", "/usr/bin/redis-cli"))
    rows = []
    async with Cluster("redis", hosts=2) as cluster:
        images = cluster.lab.workdir / "redis.tar"
        images.write_bytes(await asyncio.to_thread(archive, (database,)))
        await all_at_once(host.engine.load(images) for host in cluster.hosts)
        await cluster.adopt(cluster.manager_host)
        create = ("service", "create", "-d", "--no-resolve-image", "--name", "redis", "-p", f"{PORT}:{PORT}")
        await cluster.swarm(*create, "--mount", "source=cache,target=/data", "redis:lab", "sh", "-c", SERVER)
        await _fill(cluster, megabytes)
        log = cluster.lab.workdir / "outages"
        command = (sys.executable, "-u", "-c", CLIENT, cluster.manager_host.ip, str(PORT), str(WRITES_A_SECOND))
        client = await cluster.manager_host.spawn("sh", "-c", 'out=$1; shift; exec "$@" > "$out"', "sh", log, *command)
        try:
            for number in range(rounds):
                for what, change in (("restart", _restart), ("move", _move)):
                    began = time.time()
                    said = await change(cluster)
                    without = await _outage(cluster, log, began)
                    rows.append([what, number + 1, f"{without:.2f} s", said, f"{os.getloadavg()[0]:.1f}"])
                    print("  ".join(map(str, rows[-1])), flush=True)
        finally:
            await client.stop()
    print_table(f"Redis with {megabytes} MB", ("", "round", "without service", "stopped for the move", "load"), rows)


async def _fill(cluster: Cluster, megabytes: int) -> None:
    """Write values into Redis, and have it write its file anew, with all of them."""
    await cluster.running("redis", 1, 60)
    command = f"debug populate {megabytes * 1000} key {VALUE_BYTES - 24}"

    async def asked(words: str, wanted: str) -> bool:
        for host in cluster.hosts:
            for box in await cluster.containers(host, everything=False):
                said = await host.docker("exec", box["Id"], "sh", "-c", f"redis-cli {words}", check=False)
                return wanted in said
        return False

    await cluster.until(lambda: asked(command, "OK"), 120, pause=0.5)
    await cluster.until(lambda: asked("bgrewriteaof", "started"), 30, pause=0.5)
    await cluster.until(lambda: asked("info persistence", "aof_rewrite_in_progress:0"), 120, pause=0.5)


async def _restart(cluster: Cluster) -> str:
    await cluster.swarm("service", "update", "--force", "redis", timeout=180)
    return "-"


async def _move(cluster: Cluster) -> str:
    (task,) = await cluster.running("redis", 1, 60)
    nodes = await cluster.nodes()
    target = next(name for name, node in nodes.items() if node["ID"] != task["NodeID"])
    before = {each["ID"] for each in await cluster.get("/swarm/transfers")}
    await cluster.swarm("volume", "move", "cache", target, timeout=300)
    (moved,) = [each for each in await cluster.get("/swarm/transfers") if each["ID"] not in before]
    if moved["Phase"] != "done":
        raise RuntimeError(json.dumps(moved))
    await cluster.running("redis", 1, 60)
    return f"{moved['Downtime']:.2f} s"


async def _outage(cluster: Cluster, log: Path, began: float) -> float:
    """Wait for the end of the longest outage since an instant, and return its seconds."""
    found: list[float] = []

    async def over() -> bool:
        lines = [tuple(map(float, line.split())) for line in log.read_text().splitlines()]
        found[:] = [until - since for since, until in lines if since > began - 1]
        return bool(found)

    await cluster.until(over, 60, pause=0.5)
    return max(found)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run redis_move --")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(argv)
    asyncio.run(_measure(given.megabytes, given.rounds))
    return 0

"""Data plane: throughput, requests and connections of each path against Docker's own -p, and the time to program rules.

Three hosts with engines on this machine. One server (web:lab) is asked along every path, by wrk: in the client's
namespace for published ports, in a container's for networks. Rounds are interleaved and the median counts. All ratios
are to the same server program behind `docker run -p` on the same host, asked by the same client in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from common.model.network import IpamConfig, Network, NetworkSpec
from common.wire.messages import MESH, MESH6, Backend, Peer, PublishedPort, ServiceEndpoint
from tests.bench.spread import show_spread
from tests.bench.table import print_table
from tests.e2e.cluster import Cluster
from tests.lab import Host
from worker.net.nft import NftTables
from worker.net.plan import Memory, plan
from worker.net.site import HostFacts
from worker.ports import NetworkWorld

DOCKER_PORT, MESH_PORT = 9090, 8080
BODY = 10_000_000
CONNECTIONS = 32
SPREAD_ROUNDS = 10
NETWORK = "n" * 25
BASELINE = "docker -p"
KINDS = ("a virtual address", "and a port", "both, dual-stack")
TIMES = ("plan", "whole", "user", "sys", "change")
POOLS = ("10.0.0.0/8", "fd00:2::/48")
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Path:
    """A way to the server: where wrk runs (on a host, or in the namespace of a process there) and what it asks."""

    name: str
    host: Host
    address: str
    pid: int = 0


@dataclass(frozen=True)
class Figures:
    gbit: float
    requests: float
    connections: float


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="dataplane", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--program", nargs=3, metavar=("KIND", "SERVICES", "BACKENDS"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.program:
        kind, services, backends = options.program
        print(json.dumps(asyncio.run(_program(kind, int(services), int(backends)))))
    else:
        asyncio.run(_run(options.rounds, options.seconds))
    return 0


# --- paths ------------------------------------------------------------------------------------------------------------


async def _run(rounds: int, seconds: int) -> None:
    async with Cluster("bench") as swarm:
        paths = await _paths(swarm)
        found: dict[str, list[Figures]] = {path.name: [] for path in paths}
        for _ in range(rounds):
            for path in paths:
                found[path.name].append(await _measure(path, seconds))
        _show({name: _median(figures) for name, figures in found.items()}, rounds)
        await show_spread(swarm, SPREAD_ROUNDS)
        await _show_programming(swarm.hosts[0])


async def _paths(swarm: Cluster) -> list[Path]:
    first, second, _ = swarm.hosts
    await swarm.swarm("network", "create", "-d", "overlay", "blue")
    quiet = ("service", "create", "-q", "--detach", "--no-resolve-image", "--network", "blue")
    here = ("--constraint", f"node.hostname=={first.name}")
    await swarm.swarm(*quiet, "--name", "web", *here, "-p", f"{MESH_PORT}:80", "web:lab")
    await swarm.swarm(*quiet, "--name", "asker", "--mode", "global", "web:lab")
    await first.docker("run", "-d", "--name", "plain", "-p", f"{DOCKER_PORT}:80", "web:lab")
    await swarm.running("web", 1)
    await swarm.running("asker", 3)
    web = await _container(swarm, first, "web")
    (address,) = [end["IPAddress"] for name, end in web["NetworkSettings"]["Networks"].items() if "blue" in name]
    vip = (await swarm.get("/services/web"))["Endpoint"]["VirtualIPs"][0]["Addr"].partition("/")[0]
    near, far = [(await _container(swarm, host, "asker"))["State"]["Pid"] for host in (first, second)]
    client = swarm.lab.client
    return [
        Path(BASELINE, client, f"{first.ip}:{DOCKER_PORT}"),
        Path("mesh, local backend", client, f"{first.ip}:{MESH_PORT}"),
        Path("mesh, remote backend", client, f"{second.ip}:{MESH_PORT}"),
        Path("same bridge", first, address, near),
        Path("virtual address, same host", first, vip, near),
        Path("overlay", second, address, far),
        Path("virtual address, across", second, vip, far),
    ]


async def _container(swarm: Cluster, host: Host, service: str) -> dict[str, Any]:
    found = await swarm.containers(host, everything=False)
    (one,) = [each for each in found if each["Config"]["Labels"]["com.docker.swarm.service.name"] == service]
    return one


async def _measure(path: Path, seconds: int) -> Figures:
    bulk = await _wrk(path, seconds, f"/bytes/{BODY}", connections=4)
    kept = await _wrk(path, seconds, "/")
    new = await _wrk(path, seconds, "/", "-H", "Connection: close")
    return Figures(bulk["bytes"] * 8 / 1e9, kept["requests"], new["requests"])


async def _wrk(path: Path, seconds: int, what: str, *options: str, connections: int = CONNECTIONS) -> dict[str, float]:
    """Ask along a path; return bytes and requests a second."""
    enter = ("nsenter", f"--net=/proc/{path.pid}/ns/net") if path.pid else ()
    wrk = ("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *options, f"http://{path.address}{what}")
    said = (await path.host.run(*enter, *wrk)).stdout
    if "Socket errors" in said and not options:
        raise AssertionError(f"{path.name}: {said}")
    amount, unit = re.findall(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", said)[0]
    return {"bytes": float(amount) * _BYTES[unit], "requests": float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])}


def _median(figures: list[Figures]) -> Figures:
    return Figures(*(statistics.median(getattr(each, key) for each in figures) for key in Figures.__dataclass_fields__))


def _show(found: dict[str, Figures], rounds: int) -> None:
    base = found[BASELINE]
    rows = [
        (
            name,
            each.gbit,
            each.gbit / base.gbit,
            round(each.requests),
            each.requests / base.requests,
            round(each.connections),
            each.connections / base.connections,
        )
        for name, each in found.items()
    ]
    headings = ("path", "Gbit/s", "ratio", "requests/s", "ratio", "connections/s", "ratio")
    notes = (
        f"median of {rounds} interleaved rounds; ratio: to {BASELINE}, asked from outside, in this run",
        "wanted: mesh with a local backend ≥ 1.0; remote ≥ 0.9 of the throughput and ≥ 0.75 of the requests",
    )
    print_table("Paths", headings, rows, notes)


# --- programming ------------------------------------------------------------------------------------------------------


async def _show_programming(host: Host) -> None:
    rows = []
    for kind, services, backends in product(KINDS, (1, 10, 100), (100,)):
        module = ("-m", "tests.bench.dataplane", "--program", kind, str(services), str(backends))
        took = json.loads((await host.run("unshare", "-n", sys.executable, *module)).stdout)
        rows.append((kind, services, backends, *(1000 * took[key] for key in TIMES)))
    headings = (
        "services have",
        "number",
        "backends",
        "plan ms",
        "write ms",
        "nft user ms",
        "nft sys ms",
        "change one ms",
    )
    notes = (
        "best of 5; write: the whole table in one transaction; user and sys: CPU of the commands nft in that",
        "change one: a backend goes, planned and applied",
        f"wanted: 100 services with 100 backends each in under 60 ms ({KINDS[0]})",
    )
    print_table("Programming a host (100 peers)", headings, rows, notes)


async def _program(kind: str, services: int, backends: int) -> dict[str, float]:
    """Measure in a network namespace of its own: the best of several times, in seconds."""
    found: dict[str, list[float]] = {key: [] for key in TIMES}
    facts = HostFacts(node_id="node0", address="192.168.1.1", ipv6=kind == KINDS[2])
    for _ in range(5):
        world, memory, table = _world(kind, services, backends), Memory(), NftTables()
        start = time.perf_counter()
        first = plan(world, (), (), facts, memory)
        planned, before = time.perf_counter(), os.times()
        await table.apply(first.rulesets)
        written, after = time.perf_counter(), os.times()
        found["user"].append(after.children_user - before.children_user)
        found["sys"].append(after.children_system - before.children_system)
        fewer = _endpoint(kind, 0, backends - 1)
        changed = replace(world, endpoints={**world.endpoints, fewer.service_id: fewer})
        before_change = time.perf_counter()
        await table.apply(plan(changed, (), (), facts, memory).rulesets)
        found["plan"].append(planned - start)
        found["whole"].append(written - planned)
        found["change"].append(time.perf_counter() - before_change)
    return {key: min(values) for key, values in found.items()}


def _world(kind: str, services: int, backends: int) -> NetworkWorld:
    network = Network(
        id=NETWORK,
        spec=NetworkSpec(name="web", ipv6_enabled=kind == KINDS[2]),
        subnets=(
            IpamConfig(subnet="10.0.0.0/16", gateway="10.0.0.1"),
            *([IpamConfig(subnet="fd00:1::/64", gateway="fd00:1::1")] if kind == KINDS[2] else ()),
        ),
        leases={f"node{i}": f"10.0.{16 + i}.0/24" for i in range(100)},
    )
    peers = {f"node{i}": Peer(node_id=f"node{i}", number=i + 1, addr=f"192.168.1.{i + 1}") for i in range(1, 100)}
    endpoints = {each.service_id: each for each in (_endpoint(kind, i, backends) for i in range(services))}
    return NetworkWorld(
        node_number=1, address_pools=POOLS, networks={NETWORK: network}, endpoints=endpoints, peers=peers
    )


def _endpoint(kind: str, number: int, backends: int) -> ServiceEndpoint:
    return ServiceEndpoint(
        service_id=f"service{number}",
        name=f"s{number}",
        vips={NETWORK: f"10.0.0.{number + 2}"},
        ports=(PublishedPort(protocol="tcp", published=10_000 + number, target=80),) if kind != KINDS[0] else (),
        backends=tuple(
            Backend(
                task_id=f"t{number}-{i}",
                slot=i,
                node_id=f"node{i}",
                addresses={
                    NETWORK: f"10.0.{16 + i}.{number + 2}",
                    MESH: f"10.240.{i + 1}.{number + 2}",
                    MESH6: f"fd00:2::10.240.{i + 1}.{number + 2}",
                },
            )
            for i in range(backends)
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

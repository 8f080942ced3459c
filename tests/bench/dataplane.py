"""Data plane: throughput, requests and connections of each path against Docker's own -p, and the time to program rules.

Three hosts with engines on this machine. One server (web:lab) is asked along every path, by wrk: in the client's
namespace for published ports, in a container's for networks. All ratios are to the same server program behind `docker
run -p` on the same host, asked by the same client in the same round; their median counts, since the machine's speed
changes from round to round. Each round has the paths in another order. The client has a thread a core and more
connections than these can serve: with one thread it is what is waited for, and a path that costs less is no quicker.

Server and hosts remember a closed connection for up to two minutes. So each path has ports of its own at the client:
what came from the same port along another path meanwhile would not be new to them. And new connections are measured
after the rest: a hundred thousand remembered ones slow down every other packet, on long paths more than on short ones.

All hosts share this machine's cores, so these ratios are of processor time, to which the second host of a long path
adds its own. Between machines the cable is what limits: a last table has throughput over cables of usual rates.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, TypeAlias

from common.model.network import IpamConfig, Network, NetworkSpec
from common.wire.messages import MESH, MESH6, Backend, Peer, PublishedPort, ServiceEndpoint
from tests.bench.cables import show_cables
from tests.bench.spread import show_spread
from tests.bench.table import print_table
from tests.e2e.cluster import Cluster
from tests.lab import Host
from worker.assignments import AssignmentSet
from worker.intake.identifiers import identifier
from worker.intake.network import NetworkIntake
from worker.net.apply.nft import NftTables
from worker.net.plan.host_plan import Memory, plan
from worker.net.plan.topology import HostFacts
from worker.net.watch.changes import RuleWatch

DOCKER_PORT, OWN_PORT, MESH_PORT = 9090, 9091, 8080
BODY = 10_000_000
THREADS = os.cpu_count() or 1
CONNECTIONS = 32 * THREADS
FIRST_PORT, PORTS_A_PATH = 10_000, 6_000
ROUNDS, SPREAD_ROUNDS, CABLE_ROUNDS = 11, 10, 5
NETWORK = "n" * 25
BASELINE = "docker -p"
LOCAL, REMOTE = "mesh, local backend", "mesh, remote backend"
KINDS = ("a virtual address", "and a port", "both, dual-stack")
TIMES = ("plan", "whole", "both", "change")
POOLS = ("10.0.0.0/8", "fd00:2::/48")
# Every round's figure, by path and load.
Found: TypeAlias = dict[str, dict[str, list[float]]]
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Path:
    """A way to the server: where wrk runs (on a host, or in the namespace of a process there) and what it asks.

    ports: what `net.ipv4.ip_local_port_range` is to be there.
    """

    name: str
    host: Host
    address: str
    pid: int = 0
    ports: str = ""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="dataplane", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=1)
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
        found: Found = {path.name: {load: [] for load in LOADS} for path in paths}
        for load, measure in LOADS.items():
            for path in paths:
                await measure(path, 1)
            for number in range(rounds):
                for path in random.Random(number).sample(paths, len(paths)):
                    found[path.name][load].append(await measure(path, seconds))
        _show(found, rounds)
        await show_spread(swarm, SPREAD_ROUNDS)
        await _show_programming(swarm.hosts[0])
        published = {path.name: partial(_throughput, path) for path in paths if path.name in (BASELINE, LOCAL, REMOTE)}
        await show_cables([*swarm.hosts, swarm.lab.client], published, CABLE_ROUNDS, 2 * seconds)


async def _paths(swarm: Cluster) -> list[Path]:
    first, second, _ = swarm.hosts
    await swarm.swarm("network", "create", "-d", "overlay", "blue")
    quiet = ("service", "create", "-q", "--detach", "--no-resolve-image", "--network", "blue")
    here = ("--constraint", f"node.hostname=={first.name}")
    await swarm.swarm(*quiet, "--name", "web", *here, "-p", f"{MESH_PORT}:80", "web:lab")
    await swarm.swarm(*quiet, "--name", "asker", "--mode", "global", "web:lab")
    await first.docker("run", "-d", "--name", "plain", "-p", f"{DOCKER_PORT}:80", "web:lab")
    await first.docker("network", "create", "own")
    await first.docker("run", "-d", "--name", "owned", "--network", "own", "-p", f"{OWN_PORT}:80", "web:lab")
    await swarm.running("web", 1)
    await swarm.running("asker", 3)
    web = await _container(swarm, first, "web")
    (address,) = [end["IPAddress"] for name, end in web["NetworkSettings"]["Networks"].items() if "blue" in name]
    vip = await swarm.vip("web")
    near, far = [(await _container(swarm, host, "asker"))["State"]["Pid"] for host in (first, second)]
    client = swarm.lab.client
    paths = [
        Path(BASELINE, client, f"{first.ip}:{DOCKER_PORT}"),
        # Docker's name server has rules in the container's network here, as in ours, and so tracks there too.
        Path("and --network own", client, f"{first.ip}:{OWN_PORT}"),
        Path(LOCAL, client, f"{first.ip}:{MESH_PORT}"),
        Path(REMOTE, client, f"{second.ip}:{MESH_PORT}"),
        Path("same bridge", first, address, near),
        Path("virtual address, same host", first, vip, near),
        Path("overlay", second, address, far),
        Path("virtual address, across", second, vip, far),
    ]
    starts = range(FIRST_PORT, FIRST_PORT + len(paths) * PORTS_A_PATH, PORTS_A_PATH)
    return [
        replace(path, ports=f"{start} {start + PORTS_A_PATH - 1}") for path, start in zip(paths, starts, strict=True)
    ]


async def _container(swarm: Cluster, host: Host, service: str) -> dict[str, Any]:
    found = await swarm.containers(host, everything=False)
    (one,) = [each for each in found if each["Config"]["Labels"]["com.docker.swarm.service.name"] == service]
    return one


async def _throughput(path: Path, seconds: int) -> float:
    return (await _wrk(path, seconds, f"/bytes/{BODY}", connections=4 * THREADS))["bytes"] * 8 / 1e9


async def _requests(path: Path, seconds: int) -> float:
    return (await _wrk(path, seconds, "/"))["requests"]


async def _connections(path: Path, seconds: int) -> float:
    return (await _wrk(path, seconds, "/", "-H", "Connection: close"))["requests"]


# What is measured, in this order, by the heading of its column.
LOADS = {"Gbit/s": _throughput, "requests/s": _requests, "connections/s": _connections}


async def _wrk(path: Path, seconds: int, what: str, *options: str, connections: int = CONNECTIONS) -> dict[str, float]:
    """Ask along a path; return bytes and requests a second."""
    enter = ("nsenter", f"--net=/proc/{path.pid}/ns/net") if path.pid else ()
    await path.host.run(*enter, "sysctl", "-qw", f"net.ipv4.ip_local_port_range={path.ports}")
    wrk = ("wrk", f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", *options, f"http://{path.address}{what}")
    said = (await path.host.run(*enter, *wrk)).stdout
    if "Socket errors" in said and not options:
        raise AssertionError(f"{path.name}: {said}")
    amount, unit = re.findall(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", said)[0]
    return {"bytes": float(amount) * _BYTES[unit], "requests": float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])}


def _show(found: Found, rounds: int) -> None:
    base = found[BASELINE]
    rows = []
    for name, figures in found.items():
        row: list[str | float] = [name]
        for load, values in figures.items():
            amount = statistics.median(values)
            ratios = [value / of for value, of in zip(values, base[load], strict=True)]
            row += (amount if amount < 1000 else round(amount), statistics.median(ratios))
        rows.append(row)
    headings = ("path", *(heading for load in LOADS for heading in (load, "ratio")))
    notes = (
        f"median of {rounds} rounds; ratio: to {BASELINE}, asked from outside, in the same round",
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
        "both ms",
        "change one ms",
    )
    notes = (
        "best of 5; write: all tables; the kernel's events are made and listened to, as in a worker",
        "change one: a backend goes, planned and applied",
        f"wanted: 100 services with 100 backends each in under 60 ms ({KINDS[0]})",
    )
    print_table("Programming a host (100 peers)", headings, rows, notes)


async def _program(kind: str, services: int, backends: int) -> dict[str, float]:
    """Measure in a network namespace of its own: the best of several times, in seconds."""
    times: dict[str, list[float]] = {key: [] for key in TIMES}
    heard: list[str] = []
    facts = HostFacts(node_id=identifier("node0"), address="192.168.1.1", ipv6=kind == KINDS[2])
    table = NftTables()
    watch = RuleWatch(table.changed_by_us, lambda: heard.append("another's"), lambda: None, table.process)
    watching = asyncio.create_task(watch.run())
    for _ in range(5):
        found, memory, intake = _set(kind, services, backends), Memory(), NetworkIntake(facts.node_id)
        table.lost()
        await asyncio.sleep(0.1)
        start = time.perf_counter()
        first = plan(intake.world(found), (), (), facts, memory)
        planned = time.perf_counter()
        await table.apply(first.rulesets, first.services)
        written = time.perf_counter()
        fewer = _endpoint(kind, 0, backends - 1)
        changed = replace(found, endpoints={**found.endpoints, fewer.service_id: fewer})
        before_change = time.perf_counter()
        second = plan(intake.world(changed), (), (), facts, memory)
        await table.apply(second.rulesets, second.services)
        times["plan"].append(planned - start)
        times["whole"].append(written - planned)
        times["both"].append(written - start)
        times["change"].append(time.perf_counter() - before_change)
    watching.cancel()
    table.close()
    if heard:
        raise AssertionError("the worker's own changes were taken for another's")
    return {key: min(values) for key, values in times.items()}


def _set(kind: str, services: int, backends: int) -> AssignmentSet:
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
    return AssignmentSet(
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
                task_id=f"t{number}x{i}",
                slot=i,
                node_id=f"node{i}",
                addresses={
                    NETWORK: f"10.0.{16 + i}.{number + 2}",
                    MESH: f"10.240.{i + 1}.{number + 2}",
                    MESH6: f"fd00:2:0:ffff:ffff:ffff:10.240.{i + 1}.{number + 2}",
                },
            )
            for i in range(backends)
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

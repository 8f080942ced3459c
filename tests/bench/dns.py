"""DNS: answers a second for containers, ours beside Docker's own resolver, in one container, by turns.

One lab host with an engine, a manager and a worker; a service of one container with the name `web`. A client in the
container's network asks for that name, `WINDOW` questions on the way at a time: ours at the gateway's address; Docker's
at 127.0.0.11 for the container's own name, which it answers itself. Rounds by turns, the median of each. Beside it, the
processor time that one answer takes without sockets, and the same with dnspython.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import dns.flags
import dns.message
import dns.rrset

from tests.bench.table import print_table
from tests.e2e.cluster import Cluster
from worker.net.resolve import answers, messages
from worker.net.resolve.zones import Client, Records, Zone, Zones

CLIENT = Path(__file__).parents[1] / "e2e" / "dns_client.py"
DOCKERS_OWN = "127.0.0.11"
DOCKERS = "Docker's"
ROUNDS = 5
QUESTIONS = 5000
WINDOW = 16


async def measure(rounds: int, questions: int) -> list[list[object]]:
    async with Cluster("dns-bench", hosts=1) as cluster:
        await cluster.swarm("network", "create", "-d", "overlay", "blue")
        await cluster.swarm("service", "create", "-q", "--detach", "--name", "web", "--network", "blue", "web:lab")
        await cluster.running("web", 1)
        (box,) = await cluster.containers(cluster.manager_host)
        server = (
            await cluster.manager_host.docker("exec", box["Id"], "grep", "nameserver", "/etc/resolv.conf")
        ).split()[1]
        sides = {"ours": (server, "web"), DOCKERS: (DOCKERS_OWN, box["Name"].strip("/"))}
        programs = {"ours": str(cluster.workers[cluster.manager_host.name].pid), DOCKERS: await docker_pid(cluster)}
        found: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, (address, name) in sides.items():
                arguments = (address, "flood", name, str(questions), str(WINDOW))
                command = ("nsenter", "-t", str(box["State"]["Pid"]), "-n", sys.executable, str(CLIENT), *arguments)
                before = used(programs[side])
                rate, p99 = json.loads((await cluster.manager_host.run(*command)).stdout)
                found[side].append((rate, p99, (used(programs[side]) - before) / questions))
    return rows_of(found)


def rows_of(found: dict[str, list[tuple[float, float, float]]]) -> list[list[object]]:
    medians = {
        side: [statistics.median(values) for values in zip(*rounds, strict=True)] for side, rounds in found.items()
    }
    theirs = medians[DOCKERS]
    return [
        [
            side,
            round(rate),
            f"{rate / theirs[0]:.1f}",
            f"{p99 * 1e3:.1f}",
            f"{cpu * 1e6:.0f}",
            f"{cpu / theirs[2]:.2f}",
        ]
        for side, (rate, p99, cpu) in medians.items()
    ]


async def docker_pid(cluster: Cluster) -> str:
    """Return dockerd's process as this machine numbers it: the one whose data is in the lab host's folder."""
    inside = (await cluster.manager_host.run("pidof", "dockerd")).stdout.strip()
    space = Path(f"/proc/{cluster.manager_host.pid}/ns/pid").readlink()
    for status in Path("/proc").glob("[0-9]*/status"):
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        is_it = lines["Name"].strip() == "dockerd" and lines["NSpid"].split()[-1] == inside
        if is_it and (status.parent / "ns" / "pid").readlink() == space:
            return status.parent.name
    raise LookupError(f"no dockerd of {cluster.manager_host.name}")


def used(pid: str) -> float:
    """Return the seconds of processor time that a process has used."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def alone(questions: int) -> list[list[object]]:
    """Return the microseconds of processor time for an answer, without sockets, ours and dnspython's."""
    address = b"\x0a\0\0\x01"
    records = Records("web", "", (), (address,), (address,), {}, {}, {})
    zones = Zones(zones={"n": Zone("blue", (records,), {"web": (records,)})}, clients={"10.0.0.2": Client(("n",))})
    packet = dns.message.make_query("web", "A").to_wire()
    rng = random.Random(1)

    def ours() -> None:
        query = messages.parse(packet)
        assert query is not None
        answers.reply(query, zones, "10.0.0.2", query.datagram_size, rng)

    def with_dnspython() -> None:
        answer = dns.message.make_response(dns.message.from_wire(packet))
        answer.answer.append(dns.rrset.from_text("web.", 5, "IN", "A", "10.0.0.1"))
        answer.flags |= dns.flags.AA | dns.flags.RA
        answer.to_wire()

    return [
        ["ours", f"{_microseconds(ours, questions):.1f}"],
        ["dnspython", f"{_microseconds(with_dnspython, questions):.1f}"],
    ]


def _microseconds(work: Callable[[], None], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e6


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run dns --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    options = parser.parse_args(argv)
    rows = asyncio.run(measure(options.rounds, options.questions))
    print_table(
        f"DNS answers to one container, {WINDOW} questions on the way",
        ["server", "answers/s", "ratio", "p99 ms", "CPU µs an answer", "ratio"],
        rows,
        ["the client, in Python, costs both sides the same and most of the time; CPU is the server process's alone"],
    )
    print_table("Processor time of one answer, µs", ["", "µs"], alone(options.questions))
    return 0

"""Services that come and go quickly, asked all the time and for a while after their end: does another one answer?

Each round makes a service with a published port and a network, waits until every node and its virtual address have
answered, and removes it. Its name is its container's hostname, so an answer says whose it is. After its end its ports
and virtual address are asked on, while the next services get the addresses that become free.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster

PROGRAM = Path(__file__).with_name("asker.py")
FIRST_PORT = 20_000
# For so long a service is asked after its removal. An address rests for 10 s after its last user.
LINGER_SECONDS = 8.0
ROUND_SECONDS = 15.0


@dataclass
class Found:
    """`counts` as `asker.Asker`'s; `addresses`: how many tasks had each; `wrong`: who answered for whom."""

    rounds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    addresses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Asking:
    """An asker's process, and the names whose URLs have all answered."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._answered: dict[str, asyncio.Event] = {}
        self._last = ""

    async def listen(self) -> None:
        """Read what the process says until it has said its counts."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._last = line.decode()
            if self._last.startswith("answered "):
                self._answered[self._last.split()[1]].set()

    async def ask(self, name: str, urls: list[str]) -> None:
        """Have a service asked, and wait until each URL has answered as it."""
        self._answered[name] = asyncio.Event()
        self.tell("ask", name, *urls)
        await self._answered[name].wait()

    def tell(self, *words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(words) + "\n").encode())

    def counts(self) -> dict[str, Any]:
        return json.loads(self._last)


async def churn(swarm: Cluster, network: str, rounds: int, at_once: int, linger: float = LINGER_SECONDS) -> Found:
    """Run so many rounds, several at once, and return what was answered; a service is asked on for `linger` seconds.

    The network is there, and the global service `asker` in it. All is as before at the end.
    """
    found = Found()
    box = await _asker_pid(swarm)
    async with _asking(swarm.lab.client.enter) as outside, _asking(_inside(swarm, box)) as inside:
        numbers = count()
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(_lane(swarm, network, numbers, rounds, (outside, inside), found, linger))
    for each in (outside, inside):
        said = each.counts()
        found.counts.update(said["counts"])
        found.wrong += said["wrong"]
    return found


async def _lane(
    swarm: Cluster,
    network: str,
    numbers: Iterator[int],
    rounds: int,
    askers: tuple[Asking, Asking],
    found: Found,
    linger: float,
) -> None:
    async with asyncio.TaskGroup() as lingering:
        while (number := next(numbers)) < rounds:
            name = f"r{number}"
            async with asyncio.timeout(ROUND_SECONDS):
                await _round(swarm, network, number, name, askers, found)
            for asker in askers:
                asker.tell("stale", name)
            await swarm.request("DELETE", f"/services/{name}")
            found.rounds += 1
            lingering.create_task(_forget(name, askers, linger))


async def _round(
    swarm: Cluster, network: str, number: int, name: str, askers: tuple[Asking, Asking], found: Found
) -> None:
    port = FIRST_PORT + number
    container = {"Image": "web:lab", "Hostname": name, "StopSignal": "SIGKILL"}
    spec = {
        "Name": name,
        "TaskTemplate": {"ContainerSpec": container, "Networks": [{"Target": network}]},
        "EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": port}]},
    }
    await swarm.request("POST", "/services/create", spec)
    virtual = await _virtual_address(swarm, name)
    outside, inside = askers
    await asyncio.gather(
        outside.ask(name, [f"http://{host.ip}:{port}/" for host in swarm.hosts]),
        inside.ask(name, [f"http://{virtual}/"]),
    )
    for task in await swarm.tasks(name):
        for end in task.get("NetworksAttachments", ()):
            found.addresses.update(end["Addresses"])


async def _virtual_address(swarm: Cluster, name: str) -> str:
    found: list[str] = []

    async def given() -> bool:
        found[:] = [each["Addr"].partition("/")[0] for each in await swarm.virtual_addresses(name)]
        return bool(found)

    await swarm.until(given, ROUND_SECONDS)
    return found[0]


async def _forget(name: str, askers: tuple[Asking, Asking], linger: float) -> None:
    await asyncio.sleep(linger)
    for asker in askers:
        asker.tell("drop", name)


async def _asker_pid(swarm: Cluster) -> int:
    """Return the process of the service `asker` on the first host."""
    label = "com.docker.swarm.service.name"
    boxes = await swarm.containers(swarm.manager_host, everything=False)
    (box,) = [each for each in boxes if each["Config"]["Labels"][label] == "asker"]
    return int(box["State"]["Pid"])


def _inside(swarm: Cluster, pid: int) -> tuple[str, ...]:
    return (*swarm.manager_host.enter, "nsenter", f"--net=/proc/{pid}/ns/net")


@asynccontextmanager
async def _asking(enter: tuple[str, ...]) -> AsyncIterator[Asking]:
    process = await asyncio.create_subprocess_exec(*enter, sys.executable, str(PROGRAM), stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    asking = Asking(process)
    listening = asyncio.create_task(asking.listen())
    try:
        yield asking
    finally:
        process.stdin.close()  # which ends it
        await listening
        await process.wait()

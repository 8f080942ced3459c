"""A random life of a cluster on real engines: whatever happens to it, in the end it is what was asked for.

The simulation does the same a thousand times with engines that are not real. `SWARM_LIFE_SEED` chooses another life,
`SWARM_LIFE_STEPS` a longer one: `SWARM_LIFE_SEED=7 SWARM_LIFE_STEPS=200 tests/run e2e -k random_life`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster, describe
from tests.lab import Host

SEED = int(os.environ.get("SWARM_LIFE_SEED", "4"))
STEPS = int(os.environ.get("SWARM_LIFE_STEPS", "50"))
PAUSES = (0, 0.1, 0.5, 1)
CHECK = ("--health-cmd", "wget -qO- http://127.0.0.1/ || exit 1", "--health-interval", "500ms")
UPDATES = (("--env-add", "TIME={}"), ("--force",), ("--label-add", "step={}"), ("--limit-memory", "4{}m"))
HEALED_SECONDS, HEARD_SECONDS, GONE_SECONDS = 90.0, 30.0, 60.0


@dataclass
class Wanted:
    """A service as it was asked for; `replicas` is None for one on every host."""

    replicas: int | None
    port: int
    networks: frozenset[str]

    def count(self, hosts: int) -> int:
        return hosts if self.replicas is None else self.replicas


class Life:
    """What is done to the cluster, step by step, and what of it must be there in the end. `told`: for people."""

    def __init__(self, swarm: Cluster, rng: random.Random) -> None:
        self.swarm = swarm
        self.rng = rng
        self.services: dict[str, Wanted] = {}
        self.networks: list[str] = []
        self.told: list[str] = []
        self._numbers = count(1)
        self._cut: set[Host] = set()
        self._without_engine: set[Host] = set()
        self._without_worker: set[Host] = set()
        self._steps: dict[Callable[[], Awaitable[None]], int] = {
            self.create: 6,
            self.create_network: 2,
            self.scale: 5,
            self.update: 5,
            self.change_port: 3,
            self.change_networks: 3,
            self.roll_back: 2,
            self.remove: 2,
            self.kill_container: 5,
            self.change_availability: 4,
            self.stop_or_start_worker: 4,
            self.stop_or_start_engine: 3,
            self.restart_manager: 2,
            self.cut_or_mend: 4,
            self.flush_rules: 1,
        }

    async def step(self) -> None:
        (step,) = self.rng.choices(list(self._steps), list(self._steps.values()))
        await step()
        await asyncio.sleep(self.rng.choice(PAUSES))

    def tell(self, *words: object) -> None:
        self.told.append(" ".join(map(str, words)))

    def _any_service(self) -> str | None:
        return self.rng.choice(sorted(self.services)) if self.services else None

    async def create(self) -> None:
        number = next(self._numbers)
        name, rng = f"s{number}", self.rng
        if len(self.services) >= 8:
            return
        wanted = Wanted(
            replicas=rng.choice([None, 1, 2, 3, 5]),
            port=8100 + number if rng.random() < 0.6 else 0,
            networks=frozenset(rng.sample(self.networks, min(len(self.networks), rng.choice([0, 1, 1, 2])))),
        )
        options = ["--mode", "global"] if wanted.replicas is None else ["--replicas", str(wanted.replicas)]
        options += ["-p", f"{wanted.port}:80"] if wanted.port else []
        options += [word for network in sorted(wanted.networks) for word in ("--network", network)]
        options += ["--update-order", rng.choice(["start-first", "stop-first"])]
        options += CHECK if rng.random() < 0.3 else ()
        self.tell("create", name, wanted)
        create = ("service", "create", "-q", "-d", "--no-resolve-image", "--name", name, "--stop-signal", "KILL")
        await self.swarm.swarm(*create, "--update-monitor", "500ms", "--restart-delay", "500ms", *options, "web:lab")
        self.services[name] = wanted

    async def create_network(self) -> None:
        if len(self.networks) < 4:
            name = f"n{next(self._numbers)}"
            self.tell("create network", name)
            await self.swarm.swarm("network", "create", "-d", "overlay", name)
            self.networks.append(name)

    async def scale(self) -> None:
        name, replicas = self._any_service(), self.rng.randint(0, 6)
        if name and self.services[name].replicas is not None:
            self.tell("scale", name, replicas)
            await self.swarm.swarm("service", "scale", "-d", f"{name}={replicas}")
            self.services[name].replicas = replicas

    async def update(self) -> None:
        if name := self._any_service():
            change = [word.format(self.rng.randint(0, 9)) for word in self.rng.choice(UPDATES)]
            self.tell("update", name, *change)
            await self.swarm.swarm("service", "update", "-q", "-d", *change, name)

    async def change_port(self) -> None:
        """Publish a port, or the one that is published no more."""
        if name := self._any_service():
            wanted = self.services[name]
            port = 0 if wanted.port else 8100 + next(self._numbers)
            self.tell("port", name, port)
            change = ("--publish-add", f"{port}:80") if port else ("--publish-rm", "80")
            await self.swarm.swarm("service", "update", "-q", "-d", *change, name)
            wanted.port = port

    async def change_networks(self) -> None:
        """Attach a service to a network, or detach it."""
        name = self._any_service()
        if name and self.networks:
            wanted, network = self.services[name], self.rng.choice(self.networks)
            change = "--network-rm" if network in wanted.networks else "--network-add"
            self.tell(change, name, network)
            await self.swarm.swarm("service", "update", "-q", "-d", change, network, name)
            wanted.networks ^= {network}

    async def roll_back(self) -> None:
        """Want what there was before, if there was anything before."""
        if name := self._any_service():
            self.tell("roll back", name)
            await self.swarm.swarm("service", "rollback", "-q", "-d", name, check=False)
            spec = (await self.swarm.get(f"/services/{name}"))["Spec"]
            names = {network["Id"]: network["Name"] for network in await self.swarm.get("/networks")}
            ports = spec["EndpointSpec"].get("Ports") or [{"PublishedPort": 0}]
            networks = spec["TaskTemplate"].get("Networks") or []
            self.services[name] = Wanted(
                replicas=spec["Mode"]["Replicated"]["Replicas"] if "Replicated" in spec["Mode"] else None,
                port=ports[0]["PublishedPort"],
                networks=frozenset(names[network["Target"]] for network in networks),
            )

    async def remove(self) -> None:
        if name := self._any_service():
            self.tell("remove", name)
            await self.swarm.swarm("service", "rm", name)
            del self.services[name]

    async def kill_container(self) -> None:
        host = self.rng.choice(self.swarm.hosts)
        if host not in self._without_engine:
            found = await self.swarm.containers(host, everything=False)
            if found:
                one = self.rng.choice(found)["Id"]
                self.tell("kill container", host.name, one[:12])
                await host.docker("kill", one, check=False)

    async def change_availability(self) -> None:
        host, availability = self.rng.choice(self.swarm.hosts), self.rng.choice(["drain", "active"])
        self.tell(availability, host.name)
        await self.swarm.swarm("node", "update", "--availability", availability, host.name)

    async def stop_or_start_worker(self) -> None:
        host = self.rng.choice(self.swarm.hosts)
        self.tell("worker", host.name)
        if host in self._without_worker:
            await self._start_worker(host)
        elif host not in self._without_engine:
            worker = self.swarm.workers[host.name]
            worker.kill(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
            await worker.wait(30)
            self._without_worker.add(host)

    async def _start_worker(self, host: Host) -> None:
        await self.swarm.start_worker(host)
        self._without_worker.remove(host)

    async def stop_or_start_engine(self) -> None:
        host = self.rng.choice(self.swarm.hosts)
        self.tell("engine", host.name)
        if host in self._without_engine:
            await self._start_engine(host)
        else:
            await host.stop_engine(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
            self._without_engine.add(host)

    async def _start_engine(self, host: Host) -> None:
        await host.start_engine()
        self._without_engine.remove(host)

    async def restart_manager(self) -> None:
        self.tell("manager")
        self.swarm.manager.kill(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
        await self.swarm.manager.wait(30)
        await asyncio.sleep(self.rng.choice([0, 4]))
        await self.swarm.start_manager()

    async def cut_or_mend(self) -> None:
        """Cut off a host without the manager, one at a time."""
        if self._cut:
            await self._mend(self._cut.pop())
        else:
            host = self.rng.choice(self.swarm.hosts[1:])
            self.tell("cut", host.name)
            await host.cut()
            self._cut.add(host)

    async def _mend(self, host: Host) -> None:
        self.tell("mend", host.name)
        await host.mend()

    async def flush_rules(self) -> None:
        host = self.rng.choice(self.swarm.hosts)
        self.tell("flush", host.name)
        await host.run("nft", "flush", "ruleset")

    async def heal(self) -> None:
        """Have every host whole again, and wait until all is as it was asked for."""
        for host in list(self._cut):
            await self._mend(host)
        for host in list(self._without_engine):
            await self._start_engine(host)
        for host in list(self._without_worker):
            await self._start_worker(host)
        for host in self.swarm.hosts:
            await self.swarm.swarm("node", "update", "--availability", "active", host.name)
        for name, wanted in self.services.items():
            await self.swarm.running(name, wanted.count(len(self.swarm.hosts)), HEALED_SECONDS)

    async def engines_have_just_the_tasks(self) -> bool:
        """Each task has one container, on the host where it is to be."""
        numbers = {node["ID"]: name for name, node in (await self.swarm.nodes()).items()}
        tasks = Counter((task["ID"], numbers[task["NodeID"]]) for task in await self.swarm.tasks())
        label = "com.docker.swarm.task.id"
        found = [
            (box["Config"]["Labels"][label], host.name)
            for host in self.swarm.hosts
            for box in await self.swarm.containers(host, everything=False)
        ]
        return Counter(found) == tasks

    async def nodes_are_ready(self) -> bool:
        return all(node["Status"]["State"] == "ready" for node in (await self.swarm.nodes()).values())

    async def all_answer(self, silent: Callable[[], Awaitable[list[str]]]) -> None:
        """Wait until nobody is silent: a host that was cut off until now has yet to hear what changed meanwhile."""
        left: list[str] = []

        async def nobody() -> bool:
            left[:] = await silent()
            return not left

        await self.swarm.until(nobody, HEARD_SECONDS, lambda: "\n".join(left))

    async def silent_ports(self) -> list[str]:
        """Name the published ports that do not answer as they must, by the host and who asked."""
        found = []
        for wanted in self.services.values():
            for host in self.swarm.hosts if wanted.port else ():
                for asker, address in ((self.swarm.lab.client, host.ip), (host, "127.0.0.1")):
                    if await answers(asker, f"{address}:{wanted.port}") is not bool(wanted.count(1)):
                        found.append(f"{wanted}: {asker.name} asks {host.name}")
        return found

    async def silent_names(self) -> list[str]:
        """Name the services that a container of one of their networks does not reach by their names."""
        found = []
        for host in self.swarm.hosts:
            for box in await self.swarm.containers(host, everything=False):
                own = box["Config"]["Labels"]["com.docker.swarm.service.name"]
                for name, wanted in self.services.items():
                    for asked in (name, f"tasks.{name}"):
                        if self.services[own].networks & wanted.networks and wanted.count(1):
                            command = ("wget", "-qO-", "-T", "3", f"http://{asked}/")
                            if not await host.docker("exec", box["Id"], *command, check=False):
                                found.append(f"{own} on {host.name} asks {asked}")
        return found

    async def remove_all(self) -> None:
        """Remove everything; nothing is left of it."""
        if self.services:
            await self.swarm.swarm("service", "rm", *self.services)
        if self.networks:
            await self.swarm.swarm("network", "rm", *self.networks)
        left: list[str] = []

        async def nothing() -> bool:
            left[:] = [what for host in self.swarm.hosts for what in await self._left_on(host)]
            return not left

        await self.swarm.until(nothing, GONE_SECONDS, lambda: "\n".join(left))

    async def _left_on(self, host: Host) -> list[str]:
        networks = (await host.docker("network", "ls", "--format", "{{.Name}}")).split()
        found = [name for name in networks if name.startswith("orc-")]
        found += [box["Name"] for box in await self.swarm.containers(host)]
        return [f"{what} on {host.name}\n{self.swarm.workers[host.name].tail()}" for what in found]


async def answers(asker: Host, address: str) -> bool:
    return (await asker.run("curl", "-sf", "--max-time", "3", f"http://{address}/", check=False)).returncode == 0


def tracebacks(swarm: Cluster) -> list[str]:
    """Return the logs of managers and workers that tell of a bug."""
    logs = [log for host in swarm.hosts for name in ("manager", "worker") for log in host.folder.glob(f"log/{name}.*")]
    assert len(logs) > len(swarm.hosts)
    return [text for log in logs if "Traceback" in (text := log.read_text()) or "never retrieved" in text]


@long
@pytest.mark.alone
@pytest.mark.timeout(120 + 10 * STEPS)
async def test_a_random_life() -> None:
    async with Cluster("life") as swarm:
        life = Life(swarm, random.Random(SEED))
        try:
            for _ in range(STEPS):
                await life.step()
            await life.heal()
            await swarm.until(life.engines_have_just_the_tasks, 30)
            await swarm.until(life.nodes_are_ready, HEALED_SECONDS)
            await life.all_answer(life.silent_ports)
            await life.all_answer(life.silent_names)
            nodes: dict[str, Any] = await swarm.nodes()
            assert [node["Status"]["State"] for node in nodes.values()] == 3 * ["ready"]
            assert [node["Description"].get("Lacks") for node in nodes.values()] == 3 * [None]
            await life.remove_all()
            assert tracebacks(swarm) == []
        finally:
            print(f"seed {SEED}:", *life.told, *map(describe, await swarm.tasks()), sep="\n")

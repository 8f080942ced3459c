"""A cluster of three managers under clients and faults, in rounds: after each one all is mended, and looked at.

A round has a history of its own. What outlives it are the service whose port is asked all the time, and the managers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.cluster import describe
from tests.e2e.history import prober
from tests.e2e.history.checker import violations
from tests.e2e.history.clients import Client, Lists, elements_of, list_spec
from tests.e2e.history.clients import Managers as Api
from tests.e2e.history.nemesis import Nemesis
from tests.e2e.history.record import Calm, Container, Death, Fault, History, Outcome, Probe
from tests.e2e.managers import Managers
from tests.lab import Host

PORT = 8080
STEADY = "steady"
CALM_SECONDS = 120.0
_SERVICE_LABEL = "com.docker.swarm.service.name"
_TASK_LABEL = "com.docker.swarm.task.name"


class Life:
    """`told` hears what happens, as it happens."""

    def __init__(self, cluster: Managers, seed: int, told: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._rng = random.Random(seed)
        self._told = told
        self._api = Api({host.name: lambda host=host: cluster.socket(host) for host in cluster.managed})
        self._rounds = itertools.count(1)

    async def begin(self) -> None:
        """Make what is there all the time: a service with a container on each host, and a published port."""
        steady: dict[str, Any] = {
            "Name": STEADY,
            "TaskTemplate": {"ContainerSpec": {"Image": "web:lab"}},
            "Mode": {"Global": {}},
            "EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": PORT}]},
        }
        await self._must("POST", "/services/create", steady)
        await self._cluster.running(STEADY, len(self._cluster.hosts))

    async def under_faults(self, seconds: float, only: Collection[str] = ()) -> History:
        """Let faults and clients go on for so many seconds; see `round`."""
        nemesis = Nemesis(self._cluster, random.Random(self._rng.random()), self._told, only)
        return await self.round(nemesis.run(seconds))

    async def round(self, happening: Coroutine[Any, Any, tuple[Fault, ...]]) -> History:
        """Let clients go on while something happens, which mends what it breaks; return what was done and seen."""
        number = next(self._rounds)
        lists = Lists(f"list-{number}")
        await self._must("POST", "/services/create", list_spec(lists.begin(), ""))
        clients = [
            *(self._client(f"c{number}{letter}", lists, has_all=True) for letter in "abc"),
            self._client(f"c{number}d", lists, has_all=False),
        ]
        stop = asyncio.Event()
        deaths: list[Death] = []
        async with self._probes() as probes, self._engines_tell(deaths), asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(stop))
            faults = await happening
            stop.set()
        history = History(
            operations=tuple(itertools.chain.from_iterable(client.operations for client in clients)),
            faults=faults,
            deaths=tuple(deaths),
            probes=tuple(probes),
        )
        return await self._once_calm(history, lists)

    async def clear(self) -> None:
        """Remove what clients and lists of a round have left; return when its containers are gone."""
        for service in (await self._must("GET", "/services")).body:
            if service["Spec"]["Name"] != STEADY:
                await self._must("DELETE", f"/services/{service['ID']}")

        async def gone() -> bool:
            return not [each async for each in self._containers() if each.service != STEADY]

        await self._cluster.until(gone, CALM_SECONDS, pause=0.5)

    def _client(self, name: str, lists: Lists, *, has_all: bool) -> Client:
        return Client(name, self._api, lists, random.Random(self._rng.random()), has_all=has_all)

    async def _must(self, method: str, path: str, body: Any = None) -> Any:
        """Call the first manager, in times without faults."""
        reply = await self._api.call(self._api.names[0], method, path, body)
        assert reply.outcome is Outcome.DONE, (method, path, reply)
        return reply

    @contextlib.asynccontextmanager
    async def _probes(self) -> AsyncIterator[list[Probe]]:
        """Ask the published port from outside, all the time; the list is filled when the block is left."""
        addresses = [host.ip for host in self._cluster.hosts]
        program: tuple[str | Path, ...] = (sys.executable, Path(prober.__file__), str(PORT), *addresses)
        process = await self._cluster.lab.client.spawn(*program, name="prober")
        probes: list[Probe] = []
        try:
            yield probes
        finally:
            assert process.running, process.tail()
            process.kill()
            await process.wait()
            whole = process.output().splitlines()[:-1]
            probes += [Probe(*json.loads(line)) for line in whole]

    @contextlib.asynccontextmanager
    async def _engines_tell(self, deaths: list[Death]) -> AsyncIterator[None]:
        listening = [asyncio.create_task(self._listen(host, deaths)) for host in self._cluster.hosts]
        try:
            yield
        finally:
            for each in listening:
                each.cancel()
            ended = await asyncio.gather(*listening, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended

    async def _listen(self, host: Host, deaths: list[Death]) -> None:
        """Write down each end of a container of a host, when it is heard of."""
        connector = aiohttp.UnixConnector(path=str(host.docker_sock))
        query = {"filters": json.dumps({"type": ["container"], "event": ["die"], "label": [_SERVICE_LABEL]})}
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout()) as http,
            http.get("http://engine/events", params=query) as answer,
        ):
            async for line in answer.content:
                attributes = json.loads(line)["Actor"]["Attributes"]
                deaths.append(Death(host.name, attributes[_SERVICE_LABEL], attributes["name"], time.monotonic()))

    async def _once_calm(self, history: History, lists: Lists) -> History:
        """Wait until the cluster is as it should be, for `CALM_SECONDS` at most, and return what it is then."""
        until = time.monotonic() + CALM_SECONDS
        while True:
            seen = await self._look(lists)
            whole = History(history.operations, history.faults, history.deaths, history.probes, seen)
            if not violations(whole) or time.monotonic() > until:
                return whole
            await asyncio.sleep(0.5)

    async def _look(self, lists: Lists) -> Calm:
        shown: dict[str, dict[str, tuple[str, ...]]] = {}
        for manager in self._api.names:
            shown[manager] = {}
            for name in lists.names:
                reply = await self._api.call(manager, "GET", f"/services/{name}")
                if reply.outcome is Outcome.DONE:
                    shown[manager][name] = elements_of(reply.body)
        services = {each["Spec"]["Name"]: each["Spec"]["Mode"] for each in (await self._must("GET", "/services")).body}
        own = {name: mode for name, mode in services.items() if name != STEADY and name not in lists.names}
        containers = [each async for each in self._containers()]
        return Calm(
            lists=shown,
            services={name: mode["Replicated"]["Replicas"] for name, mode in own.items()},
            containers=tuple(each for each in containers if each.service != STEADY),
        )

    async def _containers(self) -> AsyncIterator[Container]:
        for host in self._cluster.hosts:
            for each in await self._cluster.containers(host, everything=False):
                labels = each["Config"]["Labels"]
                yield Container(host.name, labels[_SERVICE_LABEL], labels[_TASK_LABEL].rpartition(".")[0])

    async def story(self) -> str:
        """Say what the tasks are, for people who look into a violation."""
        return "\n".join(map(describe, (await self._must("GET", "/tasks")).body))

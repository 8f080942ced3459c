"""A whole cluster on lab hosts: a manager and workers as real processes, and a client of its API."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.lab import Host, Lab
from tests.lab.process import Process, Result, all_at_once

READY = 60.0
RUNNING = "running"
# What the tunnel carries only in parts, and a datagram's echo of it.
TOO_LARGE = "x" * 1800


class Cluster:
    """`hosts` machines; the first runs the manager, all run a worker. Everything is gone when the context ends.

    `listen` are more addresses for the manager's API, such as `tcp://0.0.0.0:2376`; `options` are more of `init`'s.
    """

    listen: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __init__(self, name: str, hosts: int = 3, **lab_options: Any) -> None:
        self.lab = Lab(name, hosts=hosts, **lab_options)
        self.workers: dict[str, Process] = {}

    async def __aenter__(self) -> Self:
        await self.lab.__aenter__()
        try:
            self.hosts = self.lab.hosts
            self.manager_host = self.hosts[0]
            self.api = f"unix://{self.manager_host.folder}/api.sock"
            self._http = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=self.api.removeprefix("unix://")))
            await self.begin()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_http"):
            await self._http.close()
        await self.lab.__aexit__(kind, error, trace)

    def commands(self, host: Host) -> Mapping[str, str]:
        """Return what a host's `swarm-` commands, and the daemons among them, have in their environment besides."""
        return {}

    async def begin(self) -> None:
        """Make a cluster of the hosts; none of them is part of one."""
        self.manager = await self.manager_host.spawn(
            *("swarm-manager", "init", "--foreground", *self.options, "--advertise-addr", self.manager_host.ip),
            *(option for address in (self.api, *self.listen) for option in ("--host", address)),
            name="manager",
            env=self.commands(self.manager_host),
            ready=READY,
        )
        self.token = (await self.swarm("join-token", "-q", "worker")).stdout.strip()
        await all_at_once(self.join(host) for host in self.hosts)
        await self.adopt(self.manager_host)

    async def join(self, host: Host, *options: str) -> None:
        command = (
            "swarm-worker",
            "join",
            "--foreground",
            "--token",
            self.token,
            *options,
            f"{self.manager_host.ip}:2377",
        )
        self.workers[host.name] = await host.spawn(*command, name="worker", env=self.commands(host), ready=READY)

    async def adopt(self, host: Host, name: str = "") -> None:
        """Make what a host's engine has by a name, or by all its names, the cluster's."""
        await self.request("POST", f"/nodes/{host.name}/images/adopt", {"Name": name} if name else {"All": True})

    async def start_worker(self, host: Host) -> None:
        command = ("swarm-worker", "run")
        self.workers[host.name] = await host.spawn(*command, name="worker", env=self.commands(host), ready=READY)

    async def start_manager(self) -> None:
        command = ("swarm-manager", "run")
        self.manager = await self.manager_host.spawn(
            *command, name="manager", env=self.commands(self.manager_host), ready=READY
        )

    async def swarm(self, *arguments: Any, check: bool = True, timeout: float = 60, stdin: str | None = None) -> Result:
        """Run a command of swarm-manager on its host."""
        return await self.manager_host.run(
            *("swarm-manager", "-H", self.api, *arguments),
            check=check,
            env=self.commands(self.manager_host),
            input=stdin,
            timeout=timeout,
        )

    async def create_networks(self) -> None:
        """Create the overlay networks `blue` and `red`, and `shut`, which is internal."""
        for name in ("blue", "red"):
            await self.swarm("network", "create", "-d", "overlay", name)
        await self.swarm("network", "create", "-d", "overlay", "--internal", "shut")

    async def get(self, path: str) -> Any:
        async with self._http.get(f"http://manager{path}") as answer:
            assert answer.status < 300, f"GET {path}: {answer.status} {await answer.text()}"
            return await answer.json()

    async def request(self, method: str, path: str, body: Any = None) -> None:
        """Change something without the command line's half second."""
        async with self._http.request(method, f"http://manager{path}", json=body) as answer:
            assert answer.status < 300, f"{method} {path}: {answer.status} {await answer.text()}"

    async def tasks(self, service: str = "", desired: str = RUNNING) -> list[dict[str, Any]]:
        """Return the tasks of a service (of all without a name) that are to run."""
        filters: dict[str, list[str]] = {"desired-state": [desired]} if desired else {}
        if service:
            filters["service"] = [service]
        return await self.get(f"/tasks?filters={json.dumps(filters)}")

    async def running(self, service: str, count: int, timeout: float = 30, **more: Callable[[Any], bool]) -> list[Any]:
        """Return the tasks of a service when `count` are to run and all of these run."""

        def settled(tasks: list[Any]) -> bool:
            return len(tasks) == count and all(t["Status"]["State"] == RUNNING for t in tasks)

        return await self.tasks_when(service, settled, timeout)

    async def tasks_when(self, service: str, ready: Callable[[list[Any]], bool], timeout: float = 30) -> list[Any]:
        """Return the tasks of a service that are to run when they are as wanted."""
        last: list[Any] = []

        async def look() -> bool:
            nonlocal last
            last = await self.tasks(service)
            return ready(last)

        await self.until(look, timeout, lambda: "\n".join(map(describe, last)))
        return last

    async def until(
        self, ready: Callable[[], Any], timeout: float, story: Callable[[], str] = str, *, pause: float = 0.02
    ) -> float:
        """Return the seconds until `ready()` was true. Nobody is told when a task changes: look again after a pause."""
        start = time.monotonic()
        while not await ready():
            if time.monotonic() - start > timeout:
                raise AssertionError(f"not within {timeout:g} s:\n{story()}\nmanager:\n{self.manager.tail()}")
            await asyncio.sleep(pause)
        return time.monotonic() - start

    async def virtual_addresses(self, service: str) -> list[dict[str, str]]:
        """Return a service's addresses in its own networks, `NetworkID` and `Addr` with its prefix; none: not yet."""
        ingress = (await self.get("/networks/ingress"))["Id"]
        endpoint = (await self.get(f"/services/{service}"))["Endpoint"]
        return [each for each in endpoint.get("VirtualIPs", ()) if each["NetworkID"] != ingress]

    async def vip(self, service: str) -> str:
        """Return the virtual address of a service with one network."""
        (one,) = await self.virtual_addresses(service)
        return one["Addr"].partition("/")[0]

    async def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the nodes by host name."""
        return {node["Description"]["Hostname"]: node for node in await self.get("/nodes")}

    async def remove_services(self) -> None:
        """Remove all services; none of their tasks and containers is left."""
        if names := [service["Spec"]["Name"] for service in await self.get("/services")]:
            await self.swarm("service", "rm", *names)

        async def nothing() -> bool:
            return not await self.tasks(desired="") and not any([await self.containers(each) for each in self.hosts])

        await self.until(nothing, 20)

    async def node_is(self, host: Host, state: str, timeout: float = 20) -> float:
        async def look() -> bool:
            return (await self.nodes())[host.name]["Status"]["State"] == state

        return await self.until(look, timeout)

    async def containers(self, host: Host, *, everything: bool = True) -> list[dict[str, Any]]:
        """Return the swarm's containers on a host as its engine inspects them."""
        only = ("-a",) if everything else ()
        ids = (await host.docker("ps", "-q", "--no-trunc", *only, "--filter", "label=com.docker.swarm.task")).split()
        if not ids:
            return []
        found = await host.run("docker", "inspect", *ids, check=False)
        # One that went meanwhile is none any more; docker prints the others and fails.
        assert found.returncode == 0 or "No such object" in found.stderr, found.stderr
        return json.loads(found.stdout)

    async def container_of(self, host: Host, service: str) -> dict[str, Any]:
        """Return the one running container of a service on a host."""
        label = "com.docker.swarm.service.name"
        found = await self.containers(host, everything=False)
        (one,) = [each for each in found if each["Config"]["Labels"][label] == service]
        return one


async def ask_from(host: Host, box: dict[str, Any], url: str, patience: int = 5) -> dict[str, Any] | None:
    """Ask an address from the network of a container on this host; None when nobody answers.

    With the host's own curl: in a container Debian 12's static busybox crashes when it looks up a host.
    """
    network = f"--net=/proc/{box['State']['Pid']}/ns/net"
    answer = await host.run("nsenter", network, "curl", "-gsf", "--max-time", str(patience), url, check=False)
    return json.loads(answer.stdout) if answer.returncode == 0 else None


async def udp(host: Host, address: str, port: int, sent: str = "hello") -> str:
    """Send a datagram and return the answer; again, if it was too large for the way, as the client hears then."""
    script = f"""if True:
        import socket, sys
        asked = socket.socket(socket.AF_INET6 if ":" in "{address}" else socket.AF_INET, socket.SOCK_DGRAM)
        asked.settimeout(2)
        for attempt in range(3):
            asked.sendto(b"{sent}", ("{address}", {port}))
            try:
                sys.exit(print(asked.recv(4000).decode()))
            except TimeoutError:
                continue
        sys.exit("no answer")
    """
    return (await host.run(sys.executable, "-c", script)).stdout


def describe(task: dict[str, Any]) -> str:
    status = task["Status"]
    words = (status.get("Message", ""), status.get("Err", ""))
    return f"slot {task.get('Slot')} {task['ID']} on {task.get('NodeID')}: {status['State']} {' '.join(words)}"


def slots(tasks: list[dict[str, Any]]) -> list[int]:
    return sorted(task["Slot"] for task in tasks)

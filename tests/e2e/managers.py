"""A cluster of several managers on lab hosts: the first made by `init`, the others of workers, by `node promote`."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.cluster import READY, Cluster
from tests.lab import Host
from tests.lab.process import Result, all_at_once

# Where a manager that was promoted serves its API, on its own host.
SOCKET = "unix:///run/swarm-manager/docker.sock"


class Managers(Cluster):
    """Every host runs a manager, a worker and an engine. `dockers` asks the manager of a host."""

    async def begin(self) -> None:
        self.manager = await self.boss.spawn(
            *("swarm-manager", "init", "--store", "etcd", "--foreground", "--advertise-addr", self.boss.ip),
            *("--host", self.api, "--host", SOCKET),
            name="manager",
            ready=READY,
        )
        self.token = (await self.swarm("join-token", "-q", "worker")).stdout.strip()
        await all_at_once(self.join(host) for host in self.hosts)
        await self.adopt(self.boss)
        others = [host.name for host in self.hosts[1:]]
        await self.docker(self.boss, "node", "promote", *others)
        await self.all_reachable(self.hosts)

    async def docker(self, host: Host, *arguments: str, check: bool = True, timeout: float = 60) -> Result:
        """Run docker's command line on a host, against the manager there."""
        return await host.run("docker", "-H", SOCKET, *arguments, check=check, timeout=timeout)

    async def statuses(self, host: Host) -> dict[str, str]:
        """Return what the manager of a host says of all: `Leader`, `Reachable`, `Unreachable` or nothing, by host."""
        found = await self.docker(host, "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}", check=False)
        return {line.split()[0]: line.partition(" ")[2].strip() for line in found.stdout.splitlines()}

    async def all_reachable(self, hosts: list[Host], timeout: float = 60) -> None:
        """Wait until each of these hosts' managers says the same of all of them: one leads, the others answer."""

        async def look() -> bool:
            said = [await self.statuses(host) for host in hosts]
            there = [sorted(each.get(host.name, "") for host in hosts) for each in said]
            wanted = ["Leader", *["Reachable"] * (len(hosts) - 1)]
            return all(each == wanted for each in there) and said.count(said[0]) == len(said)

        await self.until(look, timeout, pause=0.2)

    async def leader(self, asked: Host) -> Host:
        """Return the host whose manager leads, as another says."""
        said = await self.statuses(asked)
        return next(host for host in self.hosts if said.get(host.name) == "Leader")

    async def inspect(self, host: Host, kind: str, name: str) -> Any:
        return json.loads((await self.docker(host, kind, "inspect", name)).stdout)[0]

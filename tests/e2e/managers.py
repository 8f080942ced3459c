"""A cluster of several managers on lab hosts: the first made by `init`, the others of workers, by `node promote`."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any

from tests.e2e.cluster import READY, Cluster
from tests.lab import Host, Process
from tests.lab.process import Result

# Where a manager that was promoted serves its API, on its own host.
SOCKET_PATH = "/run/swarm-manager/docker.sock"
SOCKET = f"unix://{SOCKET_PATH}"
DATA = "/var/lib/swarm-manager"
# etcd keeps 64 MB for the next part of its log beside the one that it writes.
_DISK_MEGABYTES = 384
_FILLING = f"{DATA}/filling"
# What managers, and each one's etcd, listen on.
_MANAGER_PORT, _ETCD_PORT = 2377, 2380


# `docker node ls` that says each host's `Leader`, `Reachable`, `Unreachable` or nothing, as `read_statuses` reads it.
STATUSES = ("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")


def read_statuses(printed: str) -> dict[str, str]:
    """Read what managers are, by their hosts, as `STATUSES` has printed it."""
    return {line.split()[0]: line.partition(" ")[2].strip() for line in printed.splitlines()}


class Managers(Cluster):
    """Every host runs a worker and an engine, the first `managers` of them (None: all) a manager, too.

    `docker` asks the manager of a host. With `small_disks` each data directory is on a disk of its own (in memory),
    which can be filled.
    """

    listen = (SOCKET,)
    options = ("--store", "etcd")

    def __init__(
        self,
        name: str,
        hosts: int = 3,
        managers: int | None = None,
        *,
        small_disks: bool = False,
        **lab_options: Any,
    ) -> None:
        super().__init__(name, hosts, **lab_options)
        self._small_disks = small_disks
        self._count = managers or hosts
        self._started: dict[str, Process] = {}

    @property
    def managed(self) -> list[Host]:
        """The hosts that have a manager each."""
        return self.hosts[: self._count]

    async def begin(self) -> None:
        if self._small_disks:
            mount = f"mkdir -p {DATA} && mount -t tmpfs -o size={_DISK_MEGABYTES}m,mode=700 tmpfs {DATA}"
            await asyncio.gather(*(host.run("sh", "-c", mount) for host in self.managed))
        await super().begin()
        if others := [host.name for host in self.managed[1:]]:
            await self.docker(self.manager_host, "node", "promote", *others)
            await self.all_reachable()

    def socket(self, host: Host) -> str:
        """Return the path of the API's socket of a host's manager, as it is reached from outside of the host."""
        return f"/proc/{host.pid}/root{SOCKET_PATH}"

    async def start_manager(self, host: Host | None = None, skew: float = 0) -> None:
        """Start a host's manager, the first one's if none is named; with its clock off by `skew` seconds."""
        host = host or self.manager_host
        program = (sys.executable, "-m", "tests.e2e.history.skewed", str(skew)) if skew else ("swarm-manager",)
        started = await host.spawn(*program, "run", name="manager", env=self.commands(host), ready=READY)
        self._started[host.name] = started
        if host is self.manager_host:
            self.manager = started

    async def signal_manager(self, host: Host, sig: signal.Signals, *, etcd: bool = False) -> None:
        """Send a signal to a host's manager, however it was started, or to its etcd alone."""
        await host.run("kill", f"-{sig.name}", str(await self._listener(host, _ETCD_PORT if etcd else _MANAGER_PORT)))
        started = self.manager if host is self.manager_host else self._started.get(host.name)
        if sig is signal.SIGCONT and started:
            started.kill(sig)  # what has entered the host for it stops with it, and goes on only when told to

    async def restart_manager(self, host: Host, skew: float = 0) -> None:
        """Stop a host's manager in order, if it runs, and start it again."""
        await self.stop_manager(host)
        await self.start_manager(host, skew)

    async def stop_manager(self, host: Host) -> None:
        """Stop a host's manager in order, if it runs; return when it has ended."""
        if pid := await self._listener(host, _MANAGER_PORT, check=False):
            await host.run("kill", str(pid))
            await host.run("tail", f"--pid={pid}", "--sleep-interval=0.05", "-f", "/dev/null")

    async def _listener(self, host: Host, port: int, *, check: bool = True) -> int:
        """Return the process, as its host numbers it, that listens on a port; 0 where it need not be there."""
        found = re.search(r"pid=(\d+)", (await host.run("ss", "-Hltnp", f"sport = :{port}")).stdout)
        assert found or not check, f"nothing listens on port {port} of {host.name}"
        return int(found[1]) if found else 0

    async def fill_disk(self, host: Host) -> None:
        """Leave no room on the disk of a host's manager."""
        assert self._small_disks, "its disk is the machine's"
        filled = await host.run("dd", "if=/dev/zero", f"of={_FILLING}", "bs=64k", check=False)
        assert "No space left" in filled.stderr, filled.stderr

    async def free_disk(self, host: Host) -> None:
        await host.run("rm", _FILLING)

    async def docker(self, host: Host, *arguments: str, check: bool = True, timeout: float = 60) -> Result:
        """Run docker's command line on a host, against the manager there."""
        return await host.run("docker", "-H", SOCKET, *arguments, check=check, timeout=timeout)

    async def statuses(self, host: Host) -> dict[str, str]:
        """Return what the manager of a host says of all: `Leader`, `Reachable`, `Unreachable` or nothing, by host."""
        return read_statuses((await self.docker(host, *STATUSES, check=False)).stdout)

    async def all_reachable(self, hosts: Sequence[Host] = (), timeout: float = 180) -> None:
        """Wait until each of these hosts' managers (of all) says the same of all of them: one leads, others answer."""
        hosts = hosts or self.managed
        said: list[dict[str, str]] = []

        async def look() -> bool:
            said[:] = [await self.statuses(host) for host in hosts]
            there = [sorted(each.get(host.name, "") for host in hosts) for each in said]
            wanted = ["Leader", *["Reachable"] * (len(hosts) - 1)]
            return all(each == wanted for each in there) and said.count(said[0]) == len(said)

        await self.until(look, timeout, lambda: "\n".join(map(str, said)), pause=0.2)

    async def leader(self, asked: Host) -> Host:
        """Return the host whose manager leads, as another says."""
        said = await self.statuses(asked)
        return next(host for host in self.hosts if said.get(host.name) == "Leader")

    async def inspect(self, host: Host, kind: str, name: str) -> Any:
        return json.loads((await self.docker(host, kind, "inspect", name)).stdout)[0]

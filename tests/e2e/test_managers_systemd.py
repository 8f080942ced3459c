"""Three managers as systemd runs them: promoted, upgraded, killed, rebooted, demoted, and one that leaves."""

import asyncio
import time

import pytest

from tests.e2e.ci import long
from tests.e2e.managers import SOCKET, STATUSES, read_statuses
from tests.e2e.test_deploy import INSTALL, started, unit_state
from tests.lab import Host, Lab, SystemdHost
from tests.lab.process import Result, all_at_once
from tests.lab.wheels import wheelhouse

pytestmark = [long, pytest.mark.alone, pytest.mark.timeout(900)]

PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNIT = "swarm-manager"


class Machines:
    """Hosts with this release installed, that make a cluster."""

    def __init__(self, lab: Lab) -> None:
        self.hosts = lab.hosts
        self._offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse()), "PATH": PATH}

    async def run(self, host: Host, *command: str, check: bool = True, timeout: float = 90) -> Result:
        return await host.run(*command, env=self._offline, check=check, timeout=timeout)

    async def docker(self, host: Host, *command: str, check: bool = True) -> Result:
        return await self.run(host, "docker", "-H", SOCKET, *command, check=check)

    async def install(self, host: Host, *options: str, check: bool = True) -> Result:
        return await self.run(host, str(INSTALL), *options, check=check, timeout=240)

    async def begin(self) -> None:
        await all_at_once(self.install(host) for host in self.hosts)
        first = self.hosts[0]
        await self.run(first, "swarm-manager", "init", "--store", "etcd", "--advertise-addr", first.ip)
        token = (await self.run(first, "swarm-manager", "join-token", "worker", "-q")).stdout.strip()
        join = ("swarm-worker", "join", "--token", token, f"{first.ip}:2377")
        await all_at_once(self.run(host, *join) for host in self.hosts)
        create = ("service", "create", "--name", "web", "--mode", "global", "web:lab")
        await self.run(first, "swarm-manager", *create)

    async def statuses(self, host: Host) -> dict[str, str]:
        return read_statuses((await self.docker(host, *STATUSES, check=False)).stdout)

    async def until(self, host: Host, *wanted: str, timeout: float = 90) -> dict[str, str]:
        """Return what the manager of a host says of all when that is, in any order, as wanted."""
        until = time.monotonic() + timeout
        while sorted((said := await self.statuses(host)).values()) != sorted(wanted):
            assert time.monotonic() < until, (said, wanted, (await self.run(host, "journalctl", "-n", "50")).stdout)
            await asyncio.sleep(0.2)
        return said

    async def leader(self, asked: Host) -> Host:
        said = await self.statuses(asked)
        return next(host for host in self.hosts if said[host.name] == "Leader")

    async def containers(self) -> dict[str, str]:
        found = [await started(host) for host in self.hosts]
        return {name: instant for each in found for name, instant in each.items()}


async def test_managers_under_systemd() -> None:
    async with Lab("managers-systemd", hosts=3, client=False, host_type=SystemdHost) as lab:
        machines = Machines(lab)
        first, second, third = lab.hosts
        await machines.begin()
        await machines.docker(first, "node", "promote", second.name, third.name)
        for host in lab.hosts:
            await machines.until(host, "Leader", "Reachable", "Reachable")
            assert await unit_state(host, UNIT) == "active enabled"
        containers = await machines.containers()
        assert len(containers) == 3

        await upgrade_all(machines)
        assert await machines.containers() == containers

        await first.run("systemctl", "kill", "--signal=KILL", UNIT)
        await machines.until(first, "Leader", "Reachable", "Reachable")
        assert await machines.containers() == containers

        assert isinstance(third, SystemdHost)
        await third.shut_down()
        await third.boot()
        await machines.until(third, "Leader", "Reachable", "Reachable")

        await demote_and_promote(machines)
        await leave_with_force(machines)


async def upgrade_all(machines: Machines) -> None:
    leader = await machines.leader(machines.hosts[0])
    followers = [host for host in machines.hosts if host is not leader]
    await followers[0].run("systemctl", "stop", UNIT)
    refused = await machines.install(followers[1], "--upgrade", check=False)
    assert refused.returncode == 1
    assert f"the manager of {followers[0].name} does not answer" in refused.stderr
    await followers[0].run("systemctl", "start", UNIT)
    await machines.until(followers[0], "Leader", "Reachable", "Reachable")
    for host in (*followers, leader):
        release = (await host.run("readlink", "/opt/swarm/current")).stdout
        await machines.install(host, "--upgrade")
        assert (await host.run("readlink", "/opt/swarm/current")).stdout != release
        assert sorted((await machines.statuses(host)).values()) == ["Leader", "Reachable", "Reachable"]
    assert await machines.leader(leader) is not leader


async def ended(host: Host) -> None:
    """Wait until the unit of a host's manager has ended, and is not about to be begun again."""
    until = f'until [ "$(systemctl is-active {UNIT})" = inactive ]; do sleep 0.1; done'
    await host.run("timeout", "60", "sh", "-c", until)


async def demote_and_promote(machines: Machines) -> None:
    """The leader demotes itself: its unit ends, its worker goes on, and it can be promoted again."""
    leader = await machines.leader(machines.hosts[0])
    other = next(host for host in machines.hosts if host is not leader)
    await machines.docker(leader, "node", "demote", leader.name)
    await machines.until(other, "Leader", "Reachable", "")
    await ended(leader)
    assert (await leader.run("systemctl", "is-active", "swarm-worker")).stdout.strip() == "active"
    await machines.docker(other, "node", "promote", leader.name)
    await machines.until(leader, "Leader", "Reachable", "Reachable")


async def leave_with_force(machines: Machines) -> None:
    """A manager leaves; its host's worker stays, and it is promoted again."""
    leader = await machines.leader(machines.hosts[0])
    leaving, other = (host for host in machines.hosts if host is not leader)
    refused = await machines.run(leaving, "swarm-manager", "leave", check=False)
    assert refused.returncode != 0
    assert "--force" in refused.stderr
    await machines.run(leaving, "swarm-manager", "leave", "--force")
    await machines.until(other, "Leader", "Reachable", "")
    await ended(leaving)
    await machines.docker(other, "node", "promote", leaving.name)
    await machines.until(leaving, "Leader", "Reachable", "Reachable")

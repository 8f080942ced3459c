"""From a release before to this one, daemon by daemon and in every order, under load: no task is replaced."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from tests.e2e.ci import long
from tests.e2e.history.checker import violations
from tests.e2e.history.life import Life
from tests.e2e.history.record import Fault
from tests.e2e.history.summary import summary
from tests.e2e.managers import Managers
from tests.lab import Host, Load
from tests.lab.releases import release

pytestmark = [long, pytest.mark.alone, pytest.mark.timeout(600)]

# The last release that has one manager, with its store in a file; and an early one that has several.
ONE_MANAGER = "89f83460"
SEVERAL_MANAGERS = "599acbf7"
PORT = 8080


class Upgraded(Managers):
    """A cluster that begins with a release of before; `new` are the hosts whose commands are of this one."""

    def __init__(self, name: str, commit: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._before = release(commit)
        self.new: set[Host] = set()

    def commands(self, host: Host) -> Mapping[str, str]:
        return {} if host in self.new else {"PATH": f"{self._before}:{os.environ['PATH']}"}

    async def containers_started(self) -> dict[str, str]:
        """Return when the containers of all hosts were started, by their ids."""
        found = [await self.containers(host, everything=False) for host in self.hosts]
        return {each["Id"]: each["State"]["StartedAt"] for some in found for each in some}

    async def upgrade_manager(self, host: Host) -> None:
        self.new.add(host)
        await self.restart_manager(host)

    async def upgrade_worker(self, host: Host) -> None:
        self.new.add(host)
        await self.workers[host.name].stop()
        await self.start_worker(host)
        await self.node_is(host, "ready")


class FromOne(Upgraded):
    options = ()

    def __init__(self) -> None:
        super().__init__("upgrade", ONE_MANAGER, hosts=3, managers=1)


async def works(cluster: FromOne, replicas: int) -> None:
    """Show that changes reach the workers, and what they say the manager."""
    await cluster.docker(cluster.boss, "service", "scale", "--detach", f"other={replicas}")
    await cluster.running("other", replicas)


@pytest.mark.parametrize("first", ["manager", "workers"])
async def test_from_one_manager_to_three(first: Literal["manager", "workers"]) -> None:
    """Each pairing of releases in between does its work, and the port answers all the while."""
    async with FromOne() as cluster:
        create = ("service", "create", "--detach", "--no-resolve-image")
        published = ("--name", "web", "--replicas", "3", "--publish", f"{PORT}:80", "web:lab")
        await cluster.docker(cluster.boss, *create, *published)
        await cluster.docker(cluster.boss, *create, "--name", "other", "busybox:lab", "sleep", "100000")
        await cluster.running("web", 3)
        await cluster.running("other", 1)
        before = await cluster.containers_started()
        async with Load(cluster.lab.client, f"http://{cluster.hosts[1].ip}:{PORT}/", rate=50) as load:
            if first == "manager":
                await cluster.upgrade_manager(cluster.boss)
                await works(cluster, 2)
            for replicas, host in enumerate(cluster.hosts, 3):
                await cluster.upgrade_worker(host)
                await works(cluster, replicas)
            if first == "workers":
                await cluster.upgrade_manager(cluster.boss)
                await works(cluster, 2)
            await to_three_managers(cluster)
            await works(cluster, 6)
            report = await load.stop()
        assert before.items() <= (await cluster.containers_started()).items()
        assert report.errors == {}
        assert report.ok > 500


async def to_three_managers(cluster: FromOne) -> None:
    await cluster.stop_manager(cluster.boss)
    said = await cluster.boss.run("swarm-manager", "convert", "--to", "etcd")
    assert "objects, all " in said.stdout
    await cluster.start_manager()
    for host in cluster.hosts[1:]:
        await cluster.docker(cluster.boss, "node", "promote", host.name)
    await cluster.all_reachable(cluster.hosts)


async def test_three_managers_and_five_workers_under_load() -> None:
    """Followers first, the leader last, workers after them: clients notice nothing but a change of the leader."""
    async with Upgraded("rolling", SEVERAL_MANAGERS, hosts=5, managers=3) as cluster:
        life = Life(cluster, seed=5, told=print)
        await life.begin()

        async def upgrade() -> tuple[Fault, ...]:
            leader = await cluster.leader(cluster.boss)
            for host in sorted(cluster.managed, key=lambda host: host is leader):
                await cluster.upgrade_manager(host)
                await cluster.all_reachable()
            for host in cluster.hosts:
                await cluster.upgrade_worker(host)
            return ()

        history = await life.round(upgrade())
        print(summary(history))
        assert violations(history) == [], await life.story()
        assert len(history.operations) > 50

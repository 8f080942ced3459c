"""From a release before to this one, daemon by daemon and in every order, under load: no task is replaced."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
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

# The last release that has one manager, with its store in a file, and no claims to volumes; an early one that has
# several managers.
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
    await cluster.docker(cluster.manager_host, "service", "scale", "--detach", f"other={replicas}")
    await cluster.running("other", replicas)


@pytest.mark.parametrize("first", ["manager", "workers"])
async def test_from_one_manager_to_three(first: Literal["manager", "workers"]) -> None:
    """Each pairing of releases in between does its work, and the port answers all the while."""
    async with FromOne() as cluster:
        create = ("service", "create", "--detach", "--no-resolve-image")
        published = ("--name", "web", "--replicas", "3", "--publish", f"{PORT}:80", "web:lab")
        await cluster.docker(cluster.manager_host, *create, *published)
        await cluster.docker(cluster.manager_host, *create, "--name", "other", "busybox:lab", "sleep", "100000")
        await cluster.running("web", 3)
        await cluster.running("other", 1)
        before = await cluster.containers_started()
        async with Load(cluster.lab.client, f"http://{cluster.hosts[1].ip}:{PORT}/", rate=50) as load:
            if first == "manager":
                await cluster.upgrade_manager(cluster.manager_host)
                await works(cluster, 2)
            for replicas, host in enumerate(cluster.hosts, 3):
                await cluster.upgrade_worker(host)
                await works(cluster, replicas)
            if first == "workers":
                await cluster.upgrade_manager(cluster.manager_host)
                await works(cluster, 2)
            await to_three_managers(cluster)
            await works(cluster, 6)
            report = await load.stop()
        assert before.items() <= (await cluster.containers_started()).items()
        assert report.errors == {}
        assert report.ok > 500


async def to_three_managers(cluster: FromOne) -> None:
    await cluster.stop_manager(cluster.manager_host)
    said = await cluster.manager_host.run("swarm-manager", "convert", "--to", "etcd")
    assert "objects, all " in said.stdout
    await cluster.start_manager()
    for host in cluster.hosts[1:]:
        await cluster.docker(cluster.manager_host, "node", "promote", host.name)
    await cluster.all_reachable(cluster.hosts)


# What each start adds to its slot's data, beside what the release before has left there.
WRITER = ("sh", "-c", "date >> /data/starts; exec sleep 100000")


async def volume_folder(host: Host, name: str) -> Path:
    (found,) = json.loads(await host.docker("volume", "inspect", name))
    return Path(found["Mountpoint"])


async def starts(host: Host, name: str) -> int:
    """Count how often tasks began with a volume of a host."""
    return len((await volume_folder(host, name) / "starts").read_text().splitlines())


async def test_volumes_of_running_tasks_are_claimed() -> None:
    """The new manager binds tasks to their data at once, its workers mark it; no container starts anew for that."""
    async with FromOne() as cluster:
        create = ("service", "create", "-d", "--no-resolve-image", "--stop-grace-period", "1s")
        db = ("--name", "db", "--constraint", "node.hostname==h2", "--mount", "source=db_data,target=/data")
        pair = ("--name", "pair", "--replicas", "2", "--constraint", "node.hostname!=h1")
        await cluster.docker(cluster.manager_host, *create, *db, "busybox:lab", *WRITER)
        await cluster.docker(
            cluster.manager_host, *create, *pair, "--mount", "source=pair_data,target=/data", "busybox:lab", *WRITER
        )
        (task,) = await cluster.running("db", 1)
        await cluster.running("pair", 2)
        _, holder, other = cluster.hosts
        (await volume_folder(holder, "db_data") / "kept").write_text("before")
        before = await cluster.containers_started()

        await cluster.upgrade_manager(cluster.manager_host)

        async def is_refused() -> bool:
            said = await cluster.swarm("node", "drain", "h2", check=False)
            return bool(said.returncode) and "node h2 has the data of db.1 (db_data)" in said.stderr

        await cluster.until(is_refused, 20, pause=0.2)
        for host in cluster.hosts:
            await cluster.upgrade_worker(host)

        async def is_listed() -> bool:
            said = (await cluster.swarm("volume", "ls")).stdout.splitlines()
            rows = sorted(tuple(line.split()[:2]) for line in said[1:] if "db.1" in line or "pair." in line)
            return rows == [("db_data", "h2"), ("pair_data", "h2"), ("pair_data", "h3")]

        await cluster.until(is_listed, 30, pause=0.2)
        for host, name in ((holder, "db_data"), (holder, "pair_data"), (other, "pair_data")):
            mark = json.loads(((await volume_folder(host, name)).parent / "swarm.json").read_text())
            assert (len(mark["lineage"]), mark["generation"]) == (32, 1)
        assert await cluster.containers_started() == before
        assert [each["ID"] for each in await cluster.running("db", 1)] == [task["ID"]]
        await drained_tasks_wait_for_their_data(cluster, holder, other)


async def drained_tasks_wait_for_their_data(cluster: FromOne, holder: Host, other: Host) -> None:
    await cluster.swarm("service", "update", "-d", "--constraint-rm", "node.hostname==h2", "db")
    await cluster.swarm("service", "update", "-d", "--constraint-rm", "node.hostname!=h1", "pair")
    await cluster.running("db", 1)
    await cluster.running("pair", 2)
    known = await starts(holder, "db_data")
    await cluster.swarm("node", "drain", "--stop-stateful", "h2")
    for service, volume in (("db", "db_data"), ("pair", "pair_data")):
        words = f"waits for volume {volume} on h2, which is drained: make it active"

        def waits(tasks: list[Any], words: str = words) -> bool:
            return sum(words in task["Status"].get("Err", "") for task in tasks) == 1

        await cluster.tasks_when(service, waits)
    for host, name in ((cluster.manager_host, "db_data"), (cluster.manager_host, "pair_data"), (other, "db_data")):
        assert name not in (await host.docker("volume", "ls", "-q")).split(), "nothing starts empty elsewhere"
    await cluster.swarm("node", "activate", "h2")
    await cluster.running("db", 1)
    await cluster.running("pair", 2)
    assert await starts(holder, "db_data") == known + 1
    assert (await volume_folder(holder, "db_data") / "kept").read_text() == "before"


async def test_three_managers_and_five_workers_under_load() -> None:
    """Followers first, the leader last, workers after them: clients notice nothing but a change of the leader."""
    async with Upgraded("rolling", SEVERAL_MANAGERS, hosts=5, managers=3) as cluster:
        life = Life(cluster, seed=5, told=print)
        await life.begin()

        async def upgrade() -> tuple[Fault, ...]:
            leader = await cluster.leader(cluster.manager_host)
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

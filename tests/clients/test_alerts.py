"""Each alert of deploy/monitoring fires by its cause on real engines, and ends when that is mended.

What cannot be made on one machine is made where the program looks: a host's kernel says that memory is short (the lab's
hosts share this machine's), a rule has a bug (none is known), and the disk below the manager is slow (a library that is
loaded into it waits). That alerts wait before they fire is tried by promtool, at their own pace.
"""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio

from tests.clients.prometheus import Prometheus, watching
from tests.e2e.cluster import READY, Cluster
from tests.e2e.managers import Managers
from tests.lab import Host
from tests.unit.deploy.test_monitoring import rules

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

DATA = "/var/lib/swarm-manager"
SMALL_DISK = "400m"
QUIET = ("--quiet", "--detach", "--no-resolve-image")
HELD_SECONDS = 0.4
# A bug in the rule that looks after scheduled jobs, while a file is there.
BUG = """
import os
from manager.orchestrate import jobs
whole = jobs.fire
def fire(context):
    if os.path.exists({file!r}):
        raise RuntimeError("a bug that a test has made")
    return whole(context)
jobs.fire = fire
"""

Labels: TypeAlias = dict[str, str]


class Breakable(Cluster):
    """A cluster whose manager's disk is slow, and one of whose rules has a bug, while `slow` and `bug` are there."""

    listen = ("tcp://0.0.0.0:2376",)

    async def begin(self) -> None:
        self.slow, self.bug = self.manager_host.folder / "slow", self.manager_host.folder / "bug"
        await super().begin()
        await self.manager.stop()
        await self.start_manager()

    async def start_manager(self, *options: str) -> None:
        folder = self.manager_host.folder / "broken"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(BUG.format(file=str(self.bug)))
        library = folder / "slow_disk.so"
        source = Path(__file__).with_name("slow_disk.c")
        subprocess.run(
            ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
        )
        self.manager = await self.manager_host.spawn(
            *("swarm-manager", "run", *options),
            name="manager",
            ready=READY,
            env={"LD_PRELOAD": str(library), "SLOW_DISK": str(self.slow), "PYTHONPATH": str(folder)},
        )

    async def create(self, name: str, *arguments: str) -> Labels:
        """Create a service; return its alert's labels."""
        await self.swarm("service", "create", *QUIET, "--name", name, *arguments)
        return {"service": name}

    async def change(self, name: str, *arguments: str) -> None:
        await self.swarm("service", "update", *QUIET, *arguments, name)

    async def remove(self, name: str) -> None:
        await self.swarm("service", "rm", name)


Cause: TypeAlias = Callable[[Breakable], AbstractAsyncContextManager[Labels]]
CAUSES: dict[str, Cause] = {}


def cause(function: Callable[[Breakable], AsyncIterator[Labels]]) -> Cause:
    """Have a function make the cause of the alert that it is named after, tell its labels, and mend it."""
    made = CAUSES[function.__name__.title().replace("_", "")] = asynccontextmanager(function)
    return made


@contextlib.asynccontextmanager
async def again_and_again(step: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Do something all the time."""

    async def go_on() -> None:
        while True:
            await step()

    job = asyncio.create_task(go_on())
    try:
        yield
    finally:
        assert not job.done(), job
        job.cancel()
        await asyncio.wait([job])


@cause
async def service_down(cluster: Breakable) -> AsyncIterator[Labels]:
    yield await cluster.create("dead", "nothing:lab")
    await cluster.change("dead", "--image", "web:lab")
    await cluster.running("dead", 1)
    await cluster.remove("dead")


@cause
async def service_short(cluster: Breakable) -> AsyncIterator[Labels]:
    """It may have one task a node, and is to have more than there are nodes."""
    yield await cluster.create("short", "--replicas", "4", "--replicas-max-per-node", "1", "web:lab")
    await cluster.swarm("service", "scale", "--detach", "short=3")
    await cluster.running("short", 3)
    await cluster.remove("short")


@cause
async def tasks_waiting(cluster: Breakable) -> AsyncIterator[Labels]:
    yield await cluster.create("choosy", "--constraint", "node.labels.there==yes", "web:lab")
    await cluster.swarm("node", "update", "--label-add", "there=yes", cluster.hosts[1].name)
    await cluster.running("choosy", 1)
    await cluster.remove("choosy")


@cause
async def crash_loop(cluster: Breakable) -> AsyncIterator[Labels]:
    failing = ("--restart-delay", "100ms", "--entrypoint", "sh -c 'exit 3'", "web:lab")
    yield await cluster.create("crashing", *failing)
    await cluster.change("crashing", "--entrypoint", "/web")
    await cluster.running("crashing", 1)


@cause
async def update_stuck(cluster: Breakable) -> AsyncIterator[Labels]:
    """It is paused, as its tasks fail."""
    labels = await cluster.create("halted", "--replicas", "2", "--update-monitor", "2s", "web:lab")
    await cluster.running("halted", 2)
    await cluster.change("halted", "--entrypoint", "sh -c 'exit 3'")
    yield labels | {"state": "paused"}
    await cluster.change("halted", "--abort")


@cause
async def update_rolled_back(cluster: Breakable) -> AsyncIterator[Labels]:
    """It ends by itself, as time passes."""
    back = ("--update-failure-action", "rollback", "--update-monitor", "2s", "web:lab")
    labels = await cluster.create("returned", "--replicas", "2", *back)
    await cluster.running("returned", 2)
    await cluster.change("returned", "--entrypoint", "sh -c 'exit 3'")
    yield labels


@cause
async def autoscale_at_max(cluster: Breakable) -> AsyncIterator[Labels]:
    policy = "swarm.x.autoscale=min=1,max=2,cpu=50%,up=2s,down=2s"
    busy = ("--reserve-cpu", "0.05", "--limit-cpu", "0.1", "--entrypoint", "sh -c 'while :; do :; done'", "web:lab")
    yield await cluster.create("wanted", "--label", policy, *busy)
    await cluster.change("wanted", "--entrypoint", "/web")


@cause
async def job_missed(cluster: Breakable) -> AsyncIterator[Labels]:
    """What begins it has a bug."""
    schedule = ("--mode", "replicated-job", "--label", "swarm.x.schedule=* * * * *")
    labels = await cluster.create("nightly", *schedule, "--entrypoint", "true", "web:lab")
    cluster.bug.touch()
    yield labels
    cluster.bug.unlink()


@cause
async def decider_failing(cluster: Breakable) -> AsyncIterator[Labels]:
    schedule = ("--mode", "replicated-job", "--label", "swarm.x.schedule=0 0 1 1 *")
    await cluster.create("yearly", *schedule, "--entrypoint", "true", "web:lab")
    cluster.bug.touch()
    await cluster.change("yearly", "--label-add", "decide=it")
    yield {"rule": "services"}
    cluster.bug.unlink()


@cause
async def reserved(cluster: Breakable) -> AsyncIterator[Labels]:
    cores = (await cluster.nodes())[cluster.manager_host.name]["Description"]["Resources"]["NanoCPUs"] / 1e9
    await cluster.create("greedy", "--mode", "global", "--reserve-cpu", f"{0.95 * cores:.2f}", "web:lab")
    yield {"resource": "cpu"}
    await cluster.remove("greedy")


@cause
async def certificate_ends(cluster: Breakable) -> AsyncIterator[Labels]:
    """The manager's is made for ten days; it is made anew when the manager has another name."""
    await renew_for(cluster, "240h")
    yield {"of": "manager"}
    await renew_for(cluster, "2160h")


async def renew_for(cluster: Breakable, life: str) -> None:
    await cluster.manager_host.run("docker", "-H", cluster.api, "swarm", "update", "--cert-expiry", life)
    await cluster.manager.stop()
    await cluster.start_manager("--tls-san", f"made-for-{life}")


@cause
async def backup_old(cluster: Breakable) -> AsyncIterator[Labels]:
    backup = ("backup", str(cluster.manager_host.folder / "backup"))
    await cluster.swarm(*backup)
    await cluster.manager_host.run("touch", "-d", "2 days ago", f"{DATA}/last-backup")
    yield {}
    await cluster.manager_host.run("rm", str(cluster.manager_host.folder / "backup"))
    await cluster.swarm(*backup)


@cause
async def audit_failing(cluster: Breakable) -> AsyncIterator[Labels]:
    """Its file is on a disk without any room."""
    await cluster.manager_host.run("mount", "--bind", "/dev/full", f"{DATA}/audit.log")
    async with again_and_again(
        lambda: cluster.swarm("node", "update", "--label-add", "a=b", cluster.manager_host.name)
    ):
        yield {}
    await cluster.manager_host.run("umount", f"{DATA}/audit.log")


@cause
async def store_slow(cluster: Breakable) -> AsyncIterator[Labels]:
    cluster.slow.touch()
    async with again_and_again(
        lambda: cluster.swarm("node", "update", "--label-add", "a=b", cluster.manager_host.name)
    ):
        yield {}
        cluster.slow.unlink()


@cause
async def manager_slow(cluster: Breakable) -> AsyncIterator[Labels]:
    """It does not get any processor time, again and again."""

    async def hold() -> None:
        cluster.manager.kill(signal.SIGSTOP)
        await asyncio.sleep(HELD_SECONDS)
        cluster.manager.kill(signal.SIGCONT)
        await asyncio.sleep(HELD_SECONDS)

    async with again_and_again(hold):
        yield {}
    cluster.manager.kill(signal.SIGCONT)


@cause
async def memory_short(cluster: Breakable) -> AsyncIterator[Labels]:
    """The kernel of its host says so."""
    host = cluster.hosts[1]
    files = {
        "/proc/meminfo": "MemTotal: 8000000 kB\nMemFree: 100000 kB\nMemAvailable: 100000 kB\n",
        "/proc/pressure/memory": "some avg10=35.00 avg60=20.00 avg300=9.00 total=1\n",
    }
    for number, (file, text) in enumerate(files.items()):
        (host.folder / f"kernel.{number}").write_text(text)
        await host.run("mount", "--bind", str(host.folder / f"kernel.{number}"), file)
    yield {"node": host.name}
    for file in files:
        await host.run("umount", file)


async def come_back(cluster: Cluster, host: Host) -> None:
    await host.start_engine()
    await cluster.start_worker(host)
    await cluster.node_is(host, "ready", 60)


@cause
async def disk_full(cluster: Breakable) -> AsyncIterator[Labels]:
    """The engine has a small disk of its own, which something fills."""
    host = cluster.hosts[2]
    await host.reboot(engine=False)
    disk = host.folder / "docker"
    await host.run("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(disk))
    await come_back(cluster, host)
    await host.run("sh", "-c", f"dd if=/dev/zero of={disk}/filling bs=1M; test -s {disk}/filling")
    yield {"node": host.name}
    await host.run("rm", f"{disk}/filling")


@cause
async def node_down(cluster: Breakable) -> AsyncIterator[Labels]:
    host = cluster.hosts[2]
    await host.power_off()
    yield {"node": host.name}
    await host.boot()
    await come_back(cluster, host)


@cause
async def manager_absent(cluster: Breakable) -> AsyncIterator[Labels]:
    cluster.manager.kill()
    yield {}
    await cluster.start_manager()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Breakable]:
    async with Breakable("alerts") as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(cluster: Breakable) -> AsyncIterator[Prometheus]:
    async with watching(cluster) as made:
        yield made


async def test_each_alert_has_a_cause() -> None:
    assert CAUSES.keys() == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("alert", CAUSES)
async def test_an_alert_fires_by_its_cause_and_ends(alert: str, cluster: Breakable, prometheus: Prometheus) -> None:
    async with CAUSES[alert](cluster) as labels:
        (fired,) = await asyncio.gather(prometheus.fires(alert, labels), return_exceptions=True)  # mended all the same
    if isinstance(fired, BaseException):
        raise fired
    ended = await prometheus.ends(alert, labels)
    print(f"{alert}: fired after {fired:.1f} s, ended after {ended:.1f} s")


class WatchedManagers(Managers):
    """Several managers, whose first serves its API over TCP as well."""

    listen = (*Managers.listen, "tcp://0.0.0.0:2376")


async def test_a_lost_quorum_is_told_of() -> None:
    """Two managers of three are gone: no page of the one that is left says that it leads."""
    async with WatchedManagers("quorum", 3) as cluster, watching(cluster) as prometheus:
        await prometheus.ends("ManagerAbsent", {})
        for host in cluster.hosts[1:]:
            await host.power_off()
        await prometheus.fires("ManagerAbsent", {})

"""Two of three managers are lost for good: what is refused and in which words, and how the third one goes on alone."""

from signal import SIGKILL

import pytest

from tests.e2e.ci import long
from tests.e2e.managers import Managers
from tests.lab import Host

pytestmark = [long, pytest.mark.alone, pytest.mark.timeout(400)]


# Of a manager that is none any more; systemd does not start it again then.
LEFT_EXIT = 3


async def refused(cluster: Managers, host: Host, *command: str) -> str:
    said = await cluster.docker(host, *command, check=False)
    assert said.returncode != 0, said
    return said.stderr


async def containers(cluster: Managers) -> set[str]:
    found = [await cluster.containers(host, everything=False) for host in cluster.hosts]
    return {str(each["Id"]) for some in found for each in some}


async def test_a_manager_that_is_left_goes_on_alone() -> None:
    async with Managers("lost", 3) as cluster:
        survivor, second, third = cluster.hosts
        create = ("service", "create", "--detach", "--name", "web", "--mode", "global", "--no-resolve-image", "web:lab")
        await cluster.docker(survivor, *create)
        await cluster.running("web", 3)
        before = await containers(cluster)
        update = ("service", "update", "--detach", "--label-add", "a=b", "web")

        await cluster.signal_manager(third, SIGKILL)
        await cluster.until(lambda: says(cluster, survivor, third, "Unreachable"), 20)
        assert "this would result in a loss of quorum" in await refused(cluster, survivor, "node", "demote", "h2")

        await cluster.signal_manager(second, SIGKILL)
        await cluster.until(lambda: says(cluster, survivor, second, "Unreachable"), 20)
        words = await refused(cluster, survivor, *update)
        assert "1 of 3 managers answers, 2 are needed; not reached: h" in words
        assert "--force-new-cluster" in words
        info = await cluster.docker(survivor, "info")
        assert "1 of 3 managers answers" in info.stdout + info.stderr
        assert len((await cluster.docker(survivor, "service", "ls", "-q")).stdout.split()) == 1
        assert await containers(cluster) == before

        await cluster.stop_manager(survivor)
        token = cluster.token
        said = await survivor.run("swarm-manager", "init", "--force-new-cluster")
        print(said.stdout, said.stderr)
        await cluster.until(lambda: says(cluster, survivor, survivor, "Leader"), 20)
        assert set((await cluster.statuses(survivor)).values()) == {"Leader", ""}
        await cluster.docker(survivor, *update)
        for host in cluster.hosts:
            await cluster.until(lambda host=host: ready(cluster, survivor, host), 40)
        assert await containers(cluster) == before, "no task was replaced"
        assert (await cluster.docker(survivor, "swarm", "join-token", "-q", "worker")).stdout.strip() != token

        # Together they had a majority of the cluster of before.
        returned = [await host.spawn("swarm-manager", "run", name="manager") for host in (second, third)]
        for process in returned:
            assert await process.wait(60) == LEFT_EXIT, process.tail()
            assert "this manager was removed from its cluster: it stops, and must not run again" in process.output()
        await cluster.docker(survivor, "service", "update", "--detach", "--label-add", "c=d", "web")
        assert set((await cluster.statuses(survivor)).values()) == {"Leader", ""}
        for host in cluster.hosts:
            await cluster.until(lambda host=host: ready(cluster, survivor, host), 40)
        assert await containers(cluster) == before, "workers believe the new one alone"


async def says(cluster: Managers, asked: Host, of: Host, status: str) -> bool:
    return (await cluster.statuses(asked)).get(of.name) == status


async def ready(cluster: Managers, asked: Host, host: Host) -> bool:
    shown = await cluster.docker(asked, "node", "ls", "--format", "{{.Hostname}} {{.Status}}", check=False)
    return f"{host.name} Ready" in shown.stdout

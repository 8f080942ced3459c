"""Several managers on real engines: any of them answers, the leader is killed, and the cluster goes on."""

import time

import pytest

from tests.e2e.managers import Managers
from tests.lab import Host

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

IMAGE = "web:lab"


async def accepted_after(cluster: Managers, host: Host, *change: str) -> float:
    """Make a change through the manager of a host, again and again until it is taken; return the seconds it took."""
    began = time.monotonic()

    async def taken() -> bool:
        return (await cluster.docker(host, *change, check=False)).returncode == 0

    await cluster.until(taken, 30)
    return time.monotonic() - began


async def test_the_cluster_goes_on_when_its_leader_is_killed() -> None:
    async with Managers("managers", 3) as cluster:
        first, second, third = cluster.hosts
        await cluster.docker(
            third,
            *("service", "create", "--detach", "--name", "web", "--replicas", "3", "--publish", "8080:8080"),
            *("--no-resolve-image", IMAGE),
        )
        before = {task["ID"] for task in await cluster.running("web", 3)}
        assert await cluster.leader(second) is first
        cluster.manager.kill()

        took = await accepted_after(cluster, third, "service", "update", "--detach", "--label-add", "a=b", "web")
        print(f"the first change was accepted after {took:.2f} s")
        led = await cluster.leader(third)
        assert led is not first
        assert (await cluster.statuses(third))[first.name] == "Unreachable"
        assert (await cluster.inspect(second, "service", "web"))["Spec"]["Labels"] == {"a": "b"}

        await cluster.start_manager()
        await cluster.all_reachable()
        assert {task["ID"] for task in await cluster.running("web", 3)} == before, "no task was replaced"

        await cluster.docker(first, "node", "demote", third.name if led is second else second.name)
        demoted = third if led is second else second
        assert (await cluster.statuses(first))[demoted.name] == ""
        gone = await cluster.docker(demoted, "node", "ls", check=False)
        assert gone.returncode != 0
        assert {task["ID"] for task in await cluster.running("web", 3)} == before, "its worker went on"

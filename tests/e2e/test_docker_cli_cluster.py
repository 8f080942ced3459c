"""The docker CLI on a real cluster: three engines, real containers, logs through the workers' streams."""

import asyncio
import re

import pytest

from tests.e2e.cluster import Cluster
from tests.lab.process import Result

IMAGE = "busybox:lab"
PROGRAM = "echo started; echo careful >&2; i=0; while sleep 0.2; do i=$((i+1)); echo tick $i; done"


async def docker(cluster: Cluster, *arguments: str, check: bool = True, timeout: float = 60) -> Result:
    """Run the docker CLI on the manager's host against the manager."""
    return await cluster.boss.run("docker", "-H", cluster.api, *arguments, check=check, timeout=timeout)


async def start(cluster: Cluster, name: str, replicas: int = 3) -> None:
    what = ("--no-resolve-image", IMAGE, "sh", "-c", PROGRAM)
    options = ("--detach", "--name", name, "--replicas", str(replicas), "--stop-grace-period", "0s")
    await docker(cluster, "service", "create", *options, *what)
    await cluster.running(name, replicas)


@pytest.mark.timeout(170)
async def test_docker_cli_on_a_cluster() -> None:
    async with Cluster("docker-cli", client=False) as cluster:
        await service_commands(cluster)
        await logs(cluster)
        await following(cluster)
        await lost_node(cluster)


async def service_commands(cluster: Cluster) -> None:
    await start(cluster, "web")
    listed = (await docker(cluster, "service", "ls", "--format", "{{.Name}} {{.Replicas}}")).stdout
    assert listed.strip() == "web 3/3"
    before = {task["ID"] for task in await cluster.tasks("web")}
    await docker(cluster, "service", "scale", "web=4", timeout=100)
    after = {task["ID"] for task in await cluster.running("web", 4)}
    assert before < after, "scaling restarted tasks"
    shown = (await docker(cluster, "system", "df")).stdout
    assert re.search(r"^Images +[1-9]", shown, re.MULTILINE), shown


async def logs(cluster: Cluster) -> None:
    """All tasks' lines, each under its own task and node."""
    result = await docker(cluster, "service", "logs", "--no-trunc", "web")
    names = {node["ID"]: host for host, node in (await cluster.nodes()).items()}
    for task in await cluster.tasks("web"):
        prefix = re.escape(f"web.{task['Slot']}.{task['ID']}@{names[task['NodeID']]}")
        assert re.search(rf"^{prefix} +\| started$", result.stdout, re.MULTILINE), result
        assert re.search(rf"^{prefix} +\| careful$", result.stderr, re.MULTILINE), result
    tail = await docker(cluster, "service", "logs", "--raw", "--tail", "1", "--timestamps", "web")
    stamped = re.findall(r"^\d{4}-\d\d-\d\dT\S+Z (?:tick \d+|started)$", tail.stdout, re.MULTILINE)
    assert len(stamped) == 4, tail


async def following(cluster: Cluster) -> None:
    """A log that is followed takes new tasks in, and ends when the service does."""
    command = ("docker", "-H", cluster.api, "service", "logs", "-f", "--tail", "0", "--raw", "more")
    await start(cluster, "more", replicas=1)
    follower = asyncio.create_task(cluster.boss.run(*command))
    await asyncio.sleep(1)
    await docker(cluster, "service", "scale", "--detach", "more=3")
    await cluster.running("more", 3)
    await asyncio.sleep(1)
    await docker(cluster, "service", "rm", "more")
    result = await asyncio.wait_for(follower, 30)
    assert len(re.findall(r"^started$", result.stdout, re.MULTILINE)) == 2
    assert len(re.findall(r"^tick 1$", result.stdout, re.MULTILINE)) >= 2


async def lost_node(cluster: Cluster) -> None:
    """A node that is gone costs its own tasks' lines alone (moby#37336)."""
    lost = cluster.hosts[2]
    gone = {t["ID"] for t in await cluster.tasks("web") if t["NodeID"] == (await cluster.nodes())[lost.name]["ID"]}
    assert gone
    await lost.cut()
    result = await docker(cluster, "service", "logs", "--no-trunc", "web")
    assert len(re.findall(r"\| started$", result.stdout, re.MULTILINE)) >= 4 - len(gone), result
    noted = re.findall(rf"^web\.\d+\.(\w+)@{lost.name} +\| warning: the log of this task", result.stderr, re.MULTILINE)
    assert set(noted) == gone, result

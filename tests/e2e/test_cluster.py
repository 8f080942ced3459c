"""The cluster core on three real engines: what is deployed stays deployed, whatever is killed, cut off or rebooted.

One cluster serves all tests of this file; each leaves it as it found it: three nodes, ready, without services.
"""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.docker_cli.document import COMPOSE, TAG
from tests.e2e.ci import long
from tests.e2e.cluster import Cluster, slots
from tests.lab import Host

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]

SEED = COMPOSE.replace(TAG, "web:lab")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    async with Cluster("cluster") as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def clean(swarm: Cluster) -> AsyncIterator[None]:
    yield
    await swarm.remove_services()


async def deploy(swarm: Cluster, replicas: int = 5) -> list[Any]:
    file = swarm.lab.workdir / "docker-compose.yaml"
    file.write_text(SEED.replace("replicas: 5", f"replicas: {replicas}"))
    await swarm.swarm("stack", "deploy", "-c", file, "--resolve-image", "never", "--detach", "shop")
    return await swarm.running("shop_web", replicas)


async def web(swarm: Cluster, replicas: int, *options: str) -> list[Any]:
    create = ("service", "create", "-d", "--no-resolve-image", "--name", "web", "--replicas", str(replicas))
    await swarm.swarm(*create, *options, "web:lab")
    return await swarm.running("web", replicas)


def on(host: Host, tasks: list[Any], nodes: dict[str, Any]) -> list[Any]:
    return [task for task in tasks if task["NodeID"] == nodes[host.name]["ID"]]


async def test_one_host_is_one_row(swarm: Cluster) -> None:
    rows = (await swarm.swarm("node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")).stdout
    assert rows.splitlines() == ["h1 Ready Leader", "h2 Ready ", "h3 Ready "]
    nodes = await swarm.nodes()
    assert nodes["h1"]["Spec"]["Role"] == "manager"
    assert nodes["h1"]["Description"]["Engine"]["EngineVersion"]
    assert nodes["h2"]["Status"]["Addr"] == swarm.hosts[1].ip


async def test_the_seeds_stack_is_spread_with_its_limits_and_scales(swarm: Cluster) -> None:
    tasks = await deploy(swarm)
    nodes = await swarm.nodes()
    assert sorted(len(on(host, tasks, nodes)) for host in swarm.hosts) == [1, 2, 2]
    containers = [c for host in swarm.hosts for c in await swarm.containers(host)]
    assert len(containers) == 5
    for container in containers:
        assert container["HostConfig"]["NanoCpus"] == 100_000_000
        assert container["HostConfig"]["Memory"] == 50 * 1024**2
        assert container["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
        assert container["Config"]["Labels"]["com.docker.stack.namespace"] == "shop"

    before = {task["ID"] for task in tasks}
    await swarm.swarm("service", "scale", "-d", "shop_web=20")
    tasks = await swarm.running("shop_web", 20)
    assert before < {task["ID"] for task in tasks}
    assert sorted(len(on(host, tasks, nodes)) for host in swarm.hosts) == [6, 7, 7]
    await swarm.swarm("service", "scale", "-d", "shop_web=2")
    tasks = await swarm.running("shop_web", 2)
    assert len({task["NodeID"] for task in tasks}) == 2


async def test_stack_rm_leaves_nothing_that_it_made(swarm: Cluster) -> None:
    await deploy(swarm)
    await swarm.swarm("stack", "rm", "shop")
    assert await swarm.get("/services") == []
    assert [n["Name"] for n in await swarm.get("/networks") if n["Name"].startswith("shop")] == []
    for host in swarm.hosts:
        assert await swarm.containers(host) == []
        assert await host.docker("volume", "ls", "-q") == ""

        async def only_its_own_networks(host: Host = host) -> bool:
            names = (await host.docker("network", "ls", "--format", "{{.Name}}")).split()
            return set(names) <= {"bridge", "host", "none", "00-orc-gw"}  # the last is the worker's, until it leaves

        await swarm.until(only_its_own_networks, 10)


async def test_a_killed_container_is_replaced_in_its_slot(swarm: Cluster) -> None:
    tasks = await web(swarm, 3, "--restart-delay", "0s")
    victim = tasks[0]
    await asyncio.gather(*[kill_container(host, victim) for host in swarm.hosts])
    after = await swarm.tasks_when("web", lambda ts: victim["ID"] not in {t["ID"] for t in ts} and len(ts) == 3)
    assert slots(after) == [1, 2, 3]
    await swarm.running("web", 3)
    failed = (await swarm.get(f"/tasks/{victim['ID']}"))["Status"]
    assert failed["State"] == "failed"
    assert "137" in failed["Err"]


async def kill_container(host: Host, task: Any) -> None:
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    if container in (await host.docker("ps", "-q", "--no-trunc")).split():
        await host.docker("kill", container)


async def test_a_killed_agent_leaves_its_containers_alone(swarm: Cluster) -> None:
    tasks = await web(swarm, 3)
    host = swarm.hosts[1]
    before = [(c["Id"], c["State"]["StartedAt"]) for c in await swarm.containers(host)]
    assert before
    swarm.workers[host.name].kill(signal.SIGKILL)
    await swarm.workers[host.name].wait()
    await swarm.start_worker(host)
    await swarm.node_is(host, "ready")
    after = await swarm.running("web", 3)
    assert {task["ID"] for task in after} == {task["ID"] for task in tasks}
    assert [(c["Id"], c["State"]["StartedAt"]) for c in await swarm.containers(host)] == before


async def test_a_manager_killed_during_a_deploy_loses_nothing(swarm: Cluster) -> None:
    create = ("service", "create", "-d", "--no-resolve-image", "--name", "web", "--replicas", "20", "web:lab")
    await swarm.swarm(*create)
    await swarm.tasks_when("web", lambda tasks: any(t["Status"]["State"] == "running" for t in tasks))
    swarm.manager.kill(signal.SIGKILL)
    await swarm.manager.wait()
    await swarm.start_manager()
    tasks = await swarm.running("web", 20)
    assert slots(tasks) == list(range(1, 21))
    containers = [
        c["Config"]["Labels"]["com.docker.swarm.task.id"] for h in swarm.hosts for c in await swarm.containers(h)
    ]
    assert sorted(containers) == sorted(task["ID"] for task in tasks)


async def test_an_engine_that_restarts_gets_its_tasks_again(swarm: Cluster) -> None:
    await web(swarm, 6, "--restart-delay", "0s")
    host = swarm.hosts[2]
    await host.restart_engine(signal.SIGTERM)
    nodes = await swarm.nodes()
    await swarm.running("web", 6, timeout=40)

    async def true_to_the_engines() -> bool:
        # A task that has just replaced another has no container yet.
        statuses = [t["Status"].get("ContainerStatus", {}) for t in await swarm.tasks("web")]
        ids = {status.get("ContainerID") for status in statuses}
        return ids == {c["Id"] for h in swarm.hosts for c in await swarm.containers(h, everything=False)}

    await swarm.until(true_to_the_engines, 20)
    assert nodes[host.name]["Status"]["State"] in ("ready", "down")


@pytest.mark.parametrize(
    ("sig", "why"),
    [
        (signal.SIGKILL, "no Docker engine answers at unix:///"),
        pytest.param(signal.SIGSTOP, "hangs: it has not answered for 15 s", marks=long),
    ],
)
async def test_a_node_says_that_it_is_down_for_its_engine(swarm: Cluster, sig: signal.Signals, why: str) -> None:
    await web(swarm, 6)
    host = swarm.hosts[2]
    try:
        if sig is signal.SIGKILL:
            await host.stop_engine(sig)
        else:
            host.engine.hang()
        await swarm.node_is(host, "down", timeout=40)
        message = (await swarm.nodes())[host.name]["Status"]["Message"]
        assert message.startswith("its engine cannot be used: ")
        assert why in message
        assert f"Down: {host.name}: {message}" in (await swarm.swarm("node", "ls")).stderr
        shown = (
            await swarm.manager_host.run("docker", "-H", swarm.api, "node", "inspect", "--pretty", host.name)
        ).stdout
        assert message.lower() in shown.lower(), "docker writes every word with a capital"
        nodes = await swarm.nodes()

        def moved(tasks: list[Any]) -> bool:
            return all(t["Status"]["State"] == "running" and t["NodeID"] != nodes[host.name]["ID"] for t in tasks)

        await swarm.tasks_when("web", moved)
    finally:
        if sig is signal.SIGKILL:
            await host.start_engine()
        else:
            host.engine.unhang()
    await swarm.node_is(host, "ready")
    assert "Message" not in (await swarm.nodes())[host.name]["Status"]


async def test_a_lost_hosts_tasks_are_replaced_and_strays_stop_later(swarm: Cluster) -> None:
    await web(swarm, 6)
    host = swarm.hosts[2]
    lost = (await swarm.nodes())[host.name]["ID"]

    def replaced(tasks: list[Any]) -> bool:
        return len(tasks) == 6 and all(t["Status"]["State"] == "running" and t["NodeID"] != lost for t in tasks)

    await host.cut()
    tasks = await swarm.tasks_when("web", replaced, timeout=20)
    assert slots(tasks) == [1, 2, 3, 4, 5, 6]
    assert len(await swarm.containers(host, everything=False)) == 2, "it is cut off: it goes on with what it has"

    await host.mend()
    await swarm.node_is(host, "ready")

    async def no_strays() -> bool:
        return not await swarm.containers(host, everything=False)

    await swarm.until(no_strays, 20)
    assert {t["ID"] for t in await swarm.running("web", 6)} == {t["ID"] for t in tasks}


async def test_lost_tasks_with_no_other_place_go_on_afterwards(swarm: Cluster) -> None:
    host = swarm.hosts[1]
    tasks = await web(swarm, 2, "--constraint", f"node.hostname=={host.name}")
    before = [(c["Id"], c["State"]["StartedAt"]) for c in await swarm.containers(host)]
    swarm.workers[host.name].kill(signal.SIGKILL)
    await swarm.workers[host.name].wait()
    await swarm.node_is(host, "down")
    await swarm.tasks_when("web", lambda found: sum(t["Status"]["State"] == "pending" for t in found) == 2)
    await swarm.start_worker(host)
    await swarm.node_is(host, "ready")
    after = await swarm.running("web", 2)
    assert {task["ID"] for task in after} == {task["ID"] for task in tasks}
    assert [(c["Id"], c["State"]["StartedAt"]) for c in await swarm.containers(host)] == before


async def test_drain_moves_tasks_away_and_active_admits_new_ones(swarm: Cluster) -> None:
    await web(swarm, 6)
    host = swarm.hosts[1]
    drained = (await swarm.nodes())[host.name]["ID"]
    await swarm.swarm("node", "update", "--availability", "drain", host.name)
    await swarm.tasks_when(
        "web", lambda ts: len(ts) == 6 and all(t["Status"]["State"] == "running" and t["NodeID"] != drained for t in ts)
    )

    async def empty() -> bool:
        return not await swarm.containers(host, everything=False)

    await swarm.until(empty, 20)
    await swarm.swarm("node", "update", "--availability", "active", host.name)
    await swarm.swarm("service", "scale", "-d", "web=9")
    tasks = await swarm.running("web", 9)
    assert Counter(task["NodeID"] for task in tasks)[drained] == 3


async def test_a_rebooted_host_comes_back_and_gets_tasks(swarm: Cluster) -> None:
    await web(swarm, 6)
    host = swarm.hosts[1]
    await host.reboot()
    await swarm.start_worker(host)
    await swarm.node_is(host, "ready")
    tasks = await swarm.running("web", 6)
    assert slots(tasks) == [1, 2, 3, 4, 5, 6]

    async def true_to_the_engines() -> bool:
        wanted = {t["ID"] for t in await swarm.tasks("web")}
        found = [
            c["Config"]["Labels"]["com.docker.swarm.task.id"]
            for h in swarm.hosts
            for c in await swarm.containers(h, everything=False)
        ]
        return sorted(found) == sorted(wanted)

    await swarm.until(true_to_the_engines, 20)


async def test_secrets_reach_containers_and_nothing_else(swarm: Cluster) -> None:
    word = "correct-horse-battery-staple"
    await swarm.swarm("secret", "create", "password", "-", stdin=word)
    await web(swarm, 3, "--secret", "source=password,target=db_password,uid=0,gid=0,mode=0400")
    (container,) = await swarm.containers(swarm.hosts[1])
    read = await swarm.hosts[1].docker("exec", container["Id"], "busybox", "cat", "/run/secrets/db_password")
    assert read == word
    assert word not in json.dumps(container)
    assert word not in (await swarm.swarm("secret", "inspect", "password")).stdout
    assert word not in (await swarm.swarm("service", "inspect", "web")).stdout
    for host in swarm.hosts:
        on_disk = ("find", "/var/lib/swarm-worker", "-xdev", "-type", "f", "-exec", "grep", "-lF", word, "{}", "+")
        assert (await host.run(*on_disk, check=False)).stdout == ""
        assert word not in swarm.workers[host.name].output()
        processes = (
            await host.run("sh", "-c", "cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n'")
        ).stdout
        assert word not in processes
    assert word not in swarm.manager.output()
    await swarm.swarm("service", "rm", "web")
    await swarm.swarm("secret", "rm", "password")


async def test_logs_of_all_tasks_come_through_the_manager(swarm: Cluster) -> None:
    await web(swarm, 3)
    lines = (await swarm.swarm("service", "logs", "web")).stdout.splitlines()
    assert len([line for line in lines if "serves port 80" in line]) == 3
    assert {line.split("@")[1].split()[0] for line in lines} == {"h1", "h2", "h3"}


async def test_what_does_not_converge_exits_1_with_the_tasks_reasons(swarm: Cluster) -> None:
    create = ("service", "create", "--no-resolve-image", "--name", "bad", "--restart-condition", "none")
    result = await swarm.swarm(*create, "web:lab", "/no/such/program", check=False)
    assert result.returncode == 1
    assert "/no/such/program" in result.stdout + result.stderr


@pytest.mark.parametrize("path", ["swarm-manager", "swarm-worker"])
async def test_private_files_are_private(swarm: Cluster, path: str) -> None:
    found = await swarm.manager_host.run("find", Path("/var/lib") / path, "-type", "f", "-perm", "/077")
    assert found.stdout == ""

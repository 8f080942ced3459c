"""Nodes that are drained and come back, and tasks that are moved until all is even: nothing is ever missing."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Self

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]

QUICK = ("--stop-signal", "KILL", "--update-monitor", "100ms")
SLEEP = (*QUICK, "busybox:lab", "sleep", "600")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster("balance", hosts=3) as cluster:
        yield cluster


async def homes(cluster: Cluster, service: str) -> dict[str, int]:
    """Return how many tasks of a service run on each host, by host name."""
    names = {node["ID"]: name for name, node in (await cluster.nodes()).items()}
    tasks = [task for task in await cluster.tasks(service) if task["Status"]["State"] == "running"]
    return dict(Counter(names[task["NodeID"]] for task in tasks))


class Watch:
    """Looks on, all the while, how many tasks of a service run."""

    def __init__(self, cluster: Cluster, service: str) -> None:
        self._cluster = cluster
        self._service = service
        self.fewest = 1_000
        self.most = 0

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            tasks = await self._cluster.tasks(self._service, desired="")
            running = sum(task["Status"]["State"] == "running" for task in tasks)
            self.fewest, self.most = min(self.fewest, running), max(self.most, running)
            await asyncio.sleep(0.02)  # nobody is told when a task changes


async def test_a_node_is_drained_comes_back_and_gets_its_share_again(cluster: Cluster) -> None:
    await cluster.swarm("service", "create", "--name", "web", "--replicas", "6", *SLEEP)
    async with Watch(cluster, "web") as watch:
        await cluster.swarm("node", "drain", "--wait", "--deadline", "40s", "h3")
        assert await homes(cluster, "web") == {"h1": 3, "h2": 3}
        assert not await cluster.containers(cluster.hosts[2], everything=False)
        await cluster.swarm("node", "activate", "h3")
        planned = await cluster.swarm("service", "rebalance", "--dry-run", "web")
        assert [line.split()[2] for line in planned.stdout.splitlines()] == ["TO", "h3", "h3"]
        assert await homes(cluster, "web") == {"h1": 3, "h2": 3}
        await cluster.swarm("service", "rebalance", "web")
        assert await homes(cluster, "web") == {"h1": 2, "h2": 2, "h3": 2}
    assert watch.fewest >= 6
    again = await cluster.swarm("cluster", "rebalance", "--dry-run")
    assert again.stdout == "Nothing to move: the load is as even as it can be.\n"
    before = {task["ID"] for task in await cluster.tasks("web")}
    await cluster.swarm("cluster", "rebalance")
    assert {task["ID"] for task in await cluster.tasks("web")} == before
    await cluster.swarm("service", "rm", "web")


async def test_a_deadline_that_is_over_says_what_still_runs(cluster: Cluster) -> None:
    pinned = ("--constraint", "node.hostname==h2")
    await cluster.swarm("service", "create", "--detach", "--name", "only", *pinned, *SLEEP)
    await cluster.running("only", 1)
    done = await cluster.swarm("node", "drain", "--wait", "--deadline", "500ms", "h2", check=False)
    assert done.returncode == 1
    assert "these tasks still run" in done.stderr
    assert "h2: only.1\n" in done.stderr
    await cluster.swarm("node", "activate", "h2")
    await cluster.running("only", 1)
    await cluster.swarm("service", "rm", "only")


async def test_data_and_jobs_are_not_moved(cluster: Cluster) -> None:
    await cluster.swarm("service", "create", "--detach", "--name", "db", "--mount", "source=data,target=/data", *SLEEP)
    done = await cluster.swarm("service", "rebalance", "db", check=False)
    assert done.returncode == 1
    assert "service db cannot be rebalanced: its data at /data is on its present node" in done.stderr
    await cluster.swarm("service", "rm", "db")


async def test_a_setting_that_is_not_known_is_refused(cluster: Cluster) -> None:
    swarm = await cluster.get("/swarm")
    body = json.dumps({**swarm["Spec"], "Labels": {"swarm.x.rebalance": "always"}})
    done = await cluster.manager_host.run(
        *("curl", "-sS", "--unix-socket", cluster.api.removeprefix("unix://"), "-H", "Content-Type: application/json"),
        *("-d", body, f"http://manager/swarm/update?version={swarm['Version']['Index']}"),
    )
    assert "label swarm.x.rebalance: expected off or auto; got 'always'" in json.loads(done.stdout)["message"]
    assert (await cluster.swarm("cluster", "update", "--rebalance", "auto")).stdout == "Cluster updated.\n"
    assert (await cluster.get("/swarm"))["Spec"]["Labels"] == {"swarm.x.rebalance": "auto"}


async def test_services_are_packed_drawn_to_each_other_and_kept_apart(cluster: Cluster) -> None:
    async def placed(name: str, replicas: int, *options: str) -> dict[str, int]:
        await cluster.swarm("service", "create", "-d", "--name", name, "--replicas", f"{replicas}", *options, *SLEEP)
        await cluster.running(name, replicas)
        return await homes(cluster, name)

    reserved = ("--reserve-memory", "8M")
    assert list((await placed("packed", 3, "--label", "swarm.x.strategy=binpack", *reserved)).values()) == [3]
    (home,) = await placed("db", 1)
    assert await placed("near", 2, "--label", "swarm.x.affinity=db=9") == {home: 2}
    assert home not in await placed("far", 4, "--label", "swarm.x.anti-affinity=db=9")
    await cluster.swarm("service", "rm", "packed", "db", "near", "far")


@long
async def test_by_itself_a_service_that_is_uneven_becomes_even(cluster: Cluster) -> None:
    await cluster.swarm("cluster", "update", "--rebalance", "off")
    kept_off = "node.hostname!=h1"
    await cluster.swarm("service", "create", "--name", "web", "--replicas", "6", "--constraint", kept_off, *SLEEP)
    await cluster.swarm("service", "update", "--constraint-rm", kept_off, "web")
    assert await homes(cluster, "web") == {"h2": 3, "h3": 3}, "a change of placement alone moves nothing"

    async def even() -> bool:
        return await homes(cluster, "web") == {"h1": 2, "h2": 2, "h3": 2}

    async with Watch(cluster, "web") as watch:
        await cluster.swarm("cluster", "update", "--rebalance", "auto")
        await cluster.until(even, 45)  # until h1 has been open for 30 s nothing is moved there
    assert (watch.fewest, watch.most) == (6, 7)
    await cluster.swarm("cluster", "update", "--rebalance", "off")
    await cluster.swarm("service", "rm", "web")

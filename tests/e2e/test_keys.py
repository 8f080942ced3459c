"""The keys of a cluster are replaced and locked under real engines: no task notices."""

from collections.abc import AsyncIterator, Sequence

import pytest

from tests.e2e import ci
from tests.e2e.cluster import Cluster
from tests.e2e.managers import DATA, Managers
from tests.lab import Host

pytestmark = ci.long


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster("keys", hosts=3, client=False) as cluster:
        yield cluster


async def containers(cluster: Cluster) -> set[str]:
    tasks = await cluster.running("web", 4)
    return {each["Status"]["ContainerStatus"]["ContainerID"] for each in tasks}


@pytest.mark.timeout(300)
async def test_another_root_and_a_lock_touch_no_task(cluster: Cluster) -> None:
    await cluster.swarm("service", "create", "--name", "web", "--replicas", "4", "busybox:lab", "sleep", "1000")
    before, token = await containers(cluster), (await cluster.swarm("join-token", "-q", "worker")).stdout
    said = (await cluster.swarm("ca", "--rotate", timeout=120)).stdout
    assert "new root: believed by" in said
    assert "The root is sha256:" in said
    assert not (await cluster.get("/swarm"))["RootRotationInProgress"]
    assert (await cluster.swarm("join-token", "-q", "worker")).stdout != token
    for host in cluster.lab.hosts[1:]:
        await cluster.node_is(host, "ready")
    assert await containers(cluster) == before

    await cluster.swarm("cluster", "update", "--autolock")
    key = (await cluster.swarm("unlock-key", "-q")).stdout
    await cluster.manager.stop()
    await cluster.start_manager()
    locked = await cluster.swarm("node", "ls", check=False)
    assert "Swarm is encrypted and needs to be unlocked" in locked.stderr
    wrong = await cluster.swarm("unlock", check=False, stdin="SWMKEY-1-" + "A" * 43)
    assert "invalid key provided" in wrong.stderr
    await cluster.swarm("unlock", stdin=key)
    for host in cluster.lab.hosts[1:]:
        await cluster.node_is(host, "ready")
    assert await containers(cluster) == before
    await cluster.swarm("service", "scale", "web=6")
    await cluster.running("web", 6)


async def roots(hosts: Sequence[Host]) -> set[str]:
    """Return what these hosts' managers believe, and each one's etcd."""
    files = [f"{DATA}/{each}" for each in ("certificates/root.crt", "etcd/root.crt")]
    return {(await host.run("cat", file)).stdout for host in hosts for file in files}


@pytest.mark.timeout(600)
async def test_several_managers_get_another_root_and_no_task_does() -> None:
    async with Managers("roots", hosts=4, managers=3, client=False) as cluster:
        await cluster.swarm("service", "create", "--name", "web", "--replicas", "4", "busybox:lab", "sleep", "1000")
        before, (root,) = await containers(cluster), await roots(cluster.managed)
        said = (await cluster.swarm("ca", "--rotate", timeout=300)).stdout
        assert "The root is sha256:" in said
        found: set[str] = set()

        async def believe_the_new_one() -> bool:
            found.clear()
            found.update(await roots(cluster.managed))
            return len(found) == 1 and root not in found

        await cluster.until(
            believe_the_new_one, 120, lambda: "\n".join(found)
        )  # each lets go of the old one in its turn
        assert found.pop().count("BEGIN CERTIFICATE") == 1
        await cluster.all_reachable()
        for host in cluster.hosts:
            await cluster.node_is(host, "ready")
        assert await containers(cluster) == before

        # All that was signed by the root before is gone: what is made from now on holds by the new one alone.
        led = await cluster.leader(cluster.manager_host)
        await cluster.restart_manager(led)
        await cluster.all_reachable()
        for host in cluster.hosts:
            await cluster.node_is(host, "ready")
        await cluster.swarm("service", "scale", "web=6")
        tasks = await cluster.running("web", 6)
        assert before < {each["Status"]["ContainerStatus"]["ContainerID"] for each in tasks}

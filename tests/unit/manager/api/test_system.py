"""The whole cluster through the API: what it is, and what it uses."""

import msgspec
import pytest

from common.errors import Unavailable
from manager.api.call import Answer, Call
from manager.store.backends.memory import MemoryBackend
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import MANAGER, WORKER1, ApiCluster


async def test_info(client: Client) -> None:
    info = await client.get("/info")
    assert (info["NCPU"], info["MemTotal"]) == (4, 8 << 30)
    swarm = info["Swarm"]
    assert (swarm["NodeID"], swarm["Nodes"], swarm["Managers"]) == (MANAGER, 3, 1)
    assert swarm["RemoteManagers"] == [{"NodeID": MANAGER, "Addr": "10.1.0.1:2377"}]
    assert "JoinTokens" not in swarm["Cluster"]


async def test_info_says_why_nothing_can_be_stored(
    client: Client, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object, __: object) -> None:
        raise Unavailable("the disk is full")

    key = {"Name": "key", "Data": "eA=="}
    with monkeypatch.context() as patched:
        patched.setattr(MemoryBackend, "commit", full)
        assert await client.error("POST", "/secrets/create", key) == (503, "the disk is full")
        assert (await client.get("/info"))["Swarm"]["Error"] == "the disk is full"
    await client.make("/secrets/create", key)
    assert (await client.get("/info"))["Swarm"]["Error"] == ""


async def test_info_adds_up_what_the_engines_say(client: Client, cluster: ApiCluster) -> None:
    info = await client.get("/info")
    assert (info["Containers"], info["ContainersRunning"], info["Images"]) == (6, 4, 10)
    assert (info["Driver"], info["CgroupVersion"], info["DefaultRuntime"]) == ("overlay2", "2", "runc")
    assert (info["DockerRootDir"], info["SecurityOptions"]) == ("/var/lib/docker", ["name=seccomp,profile=builtin"])
    assert (info["Name"], info["Labels"], info["Warnings"]) == (cluster.api.context.host.hostname, [], None)
    await cluster.engines.engines.pop(WORKER1).stop()
    info = await client.get("/info")
    assert (info["Containers"], info["Images"], info["Driver"]) == (3, 5, "overlay2")
    assert info["Warnings"] == [f"node w1: node {WORKER1} is not connected"]


@pytest.mark.parametrize(("release", "builder"), [("20.10.24", "1"), ("26.1.5+dfsg1", "2"), ("dev", "2")])
async def test_clients_build_with_what_the_builder_prefers(
    client: Client, cluster: ApiCluster, release: str, builder: str
) -> None:
    def install(tx: Transaction) -> None:
        for node in list(tx.nodes):
            engine = msgspec.structs.replace(node.description.engine, engine_version=release)
            description = msgspec.structs.replace(node.description, engine=engine)
            tx.put(msgspec.structs.replace(node, description=description))

    await cluster.store.update(install)
    reply = await cluster.api.answer(Call("HEAD", "/_ping", caller=ADMIN))
    assert isinstance(reply, Answer)
    assert reply.headers["Builder-Version"] == builder


async def test_disk_usage_adds_up(client: Client, cluster: ApiCluster) -> None:
    usage = await client.get("/system/df")
    assert (usage["LayersSize"], len(usage["Images"])) == (200, 2)
    asked = "type=image&node=w1&type=volume"
    call = Call("GET", "/system/df", query={"node": "w1", "type": "volume"}, raw_query=asked, caller=ADMIN)
    one = await cluster.api.answer(call)
    assert isinstance(one, Answer)
    assert (one.value["LayersSize"], len(one.value["Images"])) == (100, 1)
    assert cluster.engines.engines[WORKER1].requests[-1].endswith("/system/df?type=image&type=volume")
    await cluster.engines.engines.pop(WORKER1).stop()
    assert (await client.get("/system/df"))["LayersSize"] == 100
    status, message = await client.error("GET", "/system/df?node=w1")
    assert (status, message) == (
        503,
        f"node w1 does not say what its disk holds: node {WORKER1} is not connected",
    )
    assert (await client.error("GET", "/system/df?node=w99"))[0] == 404

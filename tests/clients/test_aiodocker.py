"""PyPI's `aiodocker` on a cluster: what its documentation shows."""

import asyncio
import base64
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import aiodocker
import pytest
import pytest_asyncio

from tests.e2e.cluster import Cluster
from tests.fakes.archives import tar_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

IMAGE = "busybox:lab"
TALK = ["sh", "-c", "echo one; echo two; trap exit TERM; while :; do sleep 1 & wait; done"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def docker(cluster: Cluster) -> AsyncIterator[aiodocker.Docker]:
    async with aiodocker.Docker(url=cluster.api) as docker:
        yield docker


@pytest_asyncio.fixture(loop_scope="module")
async def box(docker: aiodocker.Docker) -> AsyncIterator[Any]:
    box = await docker.containers.run({"Image": IMAGE, "Cmd": TALK}, name="aio")
    yield box
    await docker.containers.container("aio").delete(force=True, v=True)


async def test_the_system(docker: aiodocker.Docker) -> None:
    assert (await docker.version())["ApiVersion"] == "1.51"
    info = await docker.system.info()
    assert (info["Swarm"]["Nodes"], info["Images"] >= 3, info["CgroupVersion"] in {"1", "2"}) == (3, True, True)
    with pytest.raises(aiodocker.exceptions.DockerError):
        await docker.auth(username="x", password="y", serveraddress="127.0.0.1:9")


async def test_containers(docker: aiodocker.Docker, box: Any) -> None:
    shown = await box.show()
    assert (shown["State"]["Running"], shown["Name"], box.id) == (True, "/aio", shown["Id"])
    found = await docker.containers.get("aio")
    assert (found.id, found["Name"]) == (box.id, "/aio")
    assert box.id in {each.id for each in await docker.containers.list()}
    assert box.id in {each.id for each in await docker.containers.list(all=True, filters='{"name":["aio"]}')}
    assert (await docker.containers.container("aio").show())["Id"] == box.id
    assert (await box.top())["Titles"]
    assert (await box.top(ps_args="aux"))["Processes"]
    with pytest.raises(aiodocker.exceptions.DockerError) as missing:
        await docker.containers.get("none")
    assert missing.value.status == 404
    with pytest.raises(aiodocker.exceptions.DockerError) as missing:
        await docker.containers.create({"Image": "none:such"})
    assert (missing.value.status, "No such image" in missing.value.message) == (404, True)


async def test_what_a_container_says(docker: aiodocker.Docker, box: Any) -> None:
    assert await box.log(stdout=True, stderr=True) == ["one\n", "two\n"]
    assert await box.log(stdout=True, tail=1) == ["two\n"]
    followed = box.log(stdout=True, follow=True)
    assert [await anext(followed) for _ in range(2)] == ["one\n", "two\n"]
    await followed.aclose()
    log = docker.containers.container(box.id).logs
    heard = log.subscribe()
    async with asyncio.timeout(20):
        reading = asyncio.create_task(log.run(stdout=True))
        assert b"one" in await heard.get()
        await log.stop()
        await reading
    assert (await box.stats(stream=False))[0]["name"] == "/aio"
    measured = box.stats()
    assert (await anext(measured))["memory_stats"]
    await measured.aclose()


async def test_a_containers_life(docker: aiodocker.Docker, box: Any) -> None:
    await box.pause()
    await box.unpause()
    await box.rename("aio2")
    await box.rename("aio")
    await box.resize(h=40, w=100)
    await box.restart(t=1)
    await box.kill(signal="SIGKILL")
    assert (await box.wait())["StatusCode"] == 137
    await box.start()
    await box.stop(t=1)
    again = await docker.containers.create_or_replace("aio", {"Image": IMAGE, "Cmd": TALK})
    assert again.id != box.id
    with pytest.raises(aiodocker.exceptions.DockerError, match="No such container"):
        await box.show()
    assert again.id in (await docker.containers.prune())["ContainersDeleted"]
    await docker.containers.run({"Image": IMAGE, "Cmd": TALK}, name="aio")


async def test_ports(docker: aiodocker.Docker) -> None:
    published = {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8093"}]}}}
    box = await docker.containers.run({"Image": IMAGE, "Cmd": TALK, **published})
    assert {each["HostPort"] for each in await box.port(80)} == {"8093"}
    await box.delete(force=True)


async def test_files(box: Any) -> None:
    await box.put_archive("/tmp", tar_of(("there", tarfile.REGTYPE, "carried")))
    tar = await box.get_archive("/tmp/there")
    assert tar.extractfile("there").read() == b"carried"


async def test_programs_inside(docker: aiodocker.Docker, box: Any) -> None:
    made = await box.exec(["sh", "-c", "read said; echo heard $said; read end"], stdin=True)
    async with made.start() as stream:
        await stream.write_in(b"this\n")
        assert (await stream.read_out()).data == b"heard this\n"
        assert (await docker.containers.exec(made.id).inspect())["Running"]
        await stream.write_in(b"\n")
        assert await stream.read_out() is None
    assert (await made.inspect())["ExitCode"] == 0
    told = await box.exec("sh -c 'echo $A; id -u; pwd; echo wrong >&2'", environment=["A=b"], user="2", workdir="/tmp")
    async with told.start() as stream:
        assert await everything(stream) == {1: b"b\n2\n/tmp\n", 2: b"wrong\n"}
    terminal = await box.exec(["sh", "-c", "read a; stty size"], tty=True, stdin=True)
    async with terminal.start() as stream:
        await terminal.resize(h=17, w=71)
        await stream.write_in(b"\n")
        assert b"17 71" in (await everything(stream))[1]
    assert not await (await box.exec(["echo", "out"])).start(detach=True)


async def everything(stream: Any) -> dict[int, bytes]:
    """Read a program's streams, by number, to their end."""
    said: dict[int, bytes] = {}
    while message := await stream.read_out():
        said[message.stream] = said.get(message.stream, b"") + message.data
    return said


async def test_attached(docker: aiodocker.Docker) -> None:
    config: dict[str, Any] = {"Image": IMAGE, "Cmd": ["cat"], "OpenStdin": True, "AttachStdin": True, "Tty": False}
    box = await docker.containers.create(config)
    try:
        async with box.attach(stdin=True, stdout=True, stderr=True) as stream:
            await box.start()
            await stream.write_in(b"said\n")
            assert (await stream.read_out()).data == b"said\n"
        socket = await box.websocket(stdin=True, stdout=True, stream=True)
        await socket.send_str("more\n")
        assert (await socket.receive()).data in {b"more\n", "more\n"}
        await socket.close()
    finally:
        await box.delete(force=True)


async def test_commit(docker: aiodocker.Docker, box: Any) -> None:
    await box.commit(repository="aio", tag="1", changes=["ENV A=b", "LABEL c=d"])
    config = (await docker.images.inspect("aio:1"))["Config"]
    assert ("A=b" in config["Env"], config["Labels"]["c"]) == (True, "d")
    await docker.images.delete("aio:1")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_images(docker: aiodocker.Docker, encoding: str) -> None:
    context = tar_of(("Dockerfile", tarfile.REGTYPE, f"FROM {IMAGE}\nARG WORD\nRUN echo $WORD > /made\n"))
    content = gzip.compress(context) if encoding == "gzip" else context
    said = await docker.images.build(
        fileobj=io.BytesIO(content), encoding=encoding, tag="aio:built", buildargs={"WORD": "said"}, labels={"a": "b"}
    )
    assert any("Successfully tagged" in each.get("stream", "") for each in said)
    assert (await docker.images.inspect("aio:built"))["Config"]["Labels"] == {"a": "b"}
    await docker.images.tag("aio:built", repo="aio", tag="2")
    assert {"aio:built", "aio:2"} <= {tag for each in await docker.images.list() for tag in each["RepoTags"] or ()}
    assert await docker.images.list(filters={"reference": "aio:3"}) == []
    assert await docker.images.history("aio:2")
    whole = io.BytesIO()
    async with docker.images.export_image("aio:2") as exported:
        async for chunk in exported.iter_chunked(1 << 16):
            whole.write(chunk)
    await docker.images.delete("aio:2")
    await docker.images.delete("aio:built", force=True)
    whole.seek(0)
    loaded = await docker.images.import_image(whole)
    assert "aio:2" in json.dumps(loaded)
    box = await docker.containers.run({"Image": "aio:2", "Cmd": ["cat", "/made"]})
    await box.wait()
    assert await box.log(stdout=True) == ["said\n"]
    await box.delete()
    await docker.images.delete("aio:2")
    with pytest.raises(aiodocker.exceptions.DockerError):
        await docker.images.inspect("aio:2")
    assert "SpaceReclaimed" in await docker.images.prune()
    assert "SpaceReclaimed" in await docker.images.prune_builds()


async def test_registries_that_cannot_be_reached(docker: aiodocker.Docker) -> None:
    with pytest.raises(aiodocker.exceptions.DockerError):
        await docker.images.pull("127.0.0.1:9/none:1")
    with pytest.raises(aiodocker.exceptions.DockerError):
        [each async for each in docker.images.pull("127.0.0.1:9/none:1", stream=True)]
    await docker.images.tag(IMAGE, repo="127.0.0.1:9/none", tag="1")
    with pytest.raises(aiodocker.exceptions.DockerError, match="connection refused"):
        await docker.images.push("127.0.0.1:9/none", tag="1", auth={"username": "x", "password": "y"})
    await docker.images.delete("127.0.0.1:9/none:1")


async def test_networks_and_volumes(docker: aiodocker.Docker, box: Any) -> None:
    network = await docker.networks.create({"Name": "aio"})
    assert (await network.show())["Attachable"]
    await network.connect({"Container": box._id, "EndpointConfig": {"Aliases": ["known"]}})
    assert box._id in (await network.show())["Containers"]
    await network.disconnect({"Container": box._id})
    assert "aio" in {each["Name"] for each in await docker.networks.list(filters={"name": ["aio"]})}
    assert (await (await docker.networks.get("aio")).show())["Driver"] == "overlay"
    assert await network.delete()
    await docker.networks.create({"Name": "aio", "Driver": "overlay", "Labels": {"a": "b"}})
    assert (await docker.networks.prune(filters={"label": ["a=b"]}))["NetworksDeleted"] == ["aio"]
    volume = await docker.volumes.create({"Name": "aio", "Labels": {"a": "b"}})
    assert (await volume.show())["Labels"]["a"] == "b"
    assert [each["Name"] for each in (await docker.volumes.list(filters={"label": "a=b"}))["Volumes"]] == ["aio"]
    assert (await (await docker.volumes.get("aio")).show())["Name"] == "aio"
    await volume.delete()
    await docker.volumes.create({"Labels": {"a": "b"}})
    assert len((await docker.volumes.prune(filters={"label": ["a=b"]}))["VolumesDeleted"]) == 1


async def test_services_tasks_and_nodes(docker: aiodocker.Docker) -> None:
    template = {"ContainerSpec": {"Image": IMAGE, "Command": ["sh"], "Args": TALK[1:], "StopGracePeriod": 0}}
    made = await docker.services.create(task_template=template, name="aio", mode={"Replicated": {"Replicas": 2}})
    async with asyncio.timeout(40):
        while [t["Status"]["State"] for t in await docker.tasks.list(filters={"service": "aio"})] != ["running"] * 2:
            await asyncio.sleep(0.05)
    shown = await docker.services.inspect(made["ID"])
    assert (await docker.services.list(filters={"name": "aio"}))[0]["ID"] == made["ID"]
    assert await docker.services.update(service_id="aio", version=shown["Version"]["Index"], image=IMAGE)
    assert "two" in "".join(await docker.services.logs("aio", stdout=True))
    followed: Any = docker.services.logs("aio", stdout=True, follow=True)
    assert "one" in await anext(followed)
    await followed.aclose()
    shown = await docker.services.inspect("aio")
    assert await docker.services.update("aio", str(shown["Version"]["Index"]), rollback=True)
    (task, *_) = await docker.tasks.list(filters={"service": "aio"})
    assert (await docker.tasks.inspect(task["ID"]))["ServiceID"] == made["ID"]
    assert await docker.services.delete("aio")
    assert len(await docker.nodes.list()) == 3
    (some, *_) = await docker.nodes.list(filters={"role": "worker"})
    node = await docker.nodes.inspect(node_id=some["ID"])
    spec = {**node["Spec"], "Labels": {"aio": "1"}}
    await docker.nodes.update(node_id=node["ID"], version=node["Version"]["Index"], spec=spec)
    assert (await docker.nodes.inspect(node_id=node["ID"]))["Spec"]["Labels"] == {"aio": "1"}
    with pytest.raises(aiodocker.exceptions.DockerError, match="is not down"):
        await docker.nodes.remove(node_id=node["ID"])


async def test_secrets_and_configs(docker: aiodocker.Docker) -> None:
    secret = await docker.secrets.create("aio", "hush", labels={"a": "b"})
    config = await docker.configs.create("aio", "plain")
    shown = await docker.configs.inspect(config["ID"])
    assert base64.b64decode(shown["Spec"]["Data"]) == b"plain"
    assert [each["ID"] for each in await docker.secrets.list(filters={"label": "a=b"})] == [secret["ID"]]
    assert [each["ID"] for each in await docker.configs.list(filters={"name": "aio"})] == [config["ID"]]
    version = (await docker.secrets.inspect("aio"))["Version"]["Index"]
    await docker.secrets.update("aio", str(version), labels={"c": "d"})
    assert (await docker.secrets.inspect(secret["ID"]))["Spec"]["Labels"] == {"c": "d"}
    await docker.configs.update("aio", str(shown["Version"]["Index"]), labels={"c": "d"})
    await docker.secrets.delete("aio")
    await docker.configs.delete("aio")


async def test_the_swarm(docker: aiodocker.Docker) -> None:
    assert (await docker.swarm.inspect())["JoinTokens"]["Worker"]
    with pytest.raises(aiodocker.exceptions.DockerError, match="already part of a swarm"):
        await docker.swarm.init()
    with pytest.raises(aiodocker.exceptions.DockerError, match="swarm-worker join"):
        await docker.swarm.join(remote_addrs=["10.0.0.9:2377"], join_token="token")
    with pytest.raises(aiodocker.exceptions.DockerError, match="swarm-worker leave"):
        await docker.swarm.leave(force=True)
    assert (await docker.swarm.inspect())["ID"]


async def test_events(docker: aiodocker.Docker) -> None:
    subscriber = docker.events.subscribe()
    made = await docker.volumes.create({"Name": "evented"})
    async with asyncio.timeout(20):
        while (event := await subscriber.get())["Type"] != "volume":
            assert event is not None
    assert (event["Action"], event["Actor"]["ID"]) == ("create", "evented")
    await made.delete()
    await docker.events.stop()

"""PyPI's `aiodocker` on a cluster: what its documentation shows."""

import asyncio
import base64
import io
import json
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import aiodocker
import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120), long]

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
    await box.delete(force=True, v=True)


def archive(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


async def test_the_system(docker: aiodocker.Docker) -> None:
    assert (await docker.version())["ApiVersion"] == "1.51"
    info = await docker.system.info()
    assert (info["Swarm"]["Nodes"], info["Containers"] >= 0, info["CgroupVersion"] in {"1", "2"}) == (3, True, True)


async def test_containers(docker: aiodocker.Docker, box: Any) -> None:
    assert [line async for line in box.log(stdout=True, follow=False)] == ["one\n", "two\n"]
    assert (await box.log(stdout=True, tail=1)) == ["two\n"]
    assert (await box.show())["State"]["Running"]
    assert (await docker.containers.get("aio"))._id == box._id
    assert "aio" in {name[1:] for each in await docker.containers.list() for name in each["Names"]}
    assert (await box.stats(stream=False))[0]["name"] == "/aio"
    assert (await docker.containers.container("aio").show())["Id"] == box._id
    await box.pause()
    await box.unpause()
    await box.rename("aio2")
    await box.rename("aio")
    await box.resize(h=40, w=100)
    await box.restart(timeout=1)
    await box.kill(signal="SIGKILL")
    assert (await box.wait())["StatusCode"] == 137
    await box.start()
    await box.stop(t=1)
    again = await docker.containers.create_or_replace("aio", {"Image": IMAGE, "Cmd": TALK})
    assert again._id != box._id
    await box.delete(force=True) if await exists(docker, box._id) else None
    with pytest.raises(aiodocker.exceptions.DockerError) as missing:
        await docker.containers.get("none")
    assert missing.value.status == 404
    box._id = again._id


async def exists(docker: aiodocker.Docker, container: str) -> bool:
    return container in {each["Id"] for each in await docker.containers.list(all=True)}


async def test_files(box: Any) -> None:
    await box.put_archive("/tmp", archive("there", b"carried"))
    tar = await box.get_archive("/tmp/there")
    assert tar.extractfile("there").read() == b"carried"


async def test_programs_inside(box: Any) -> None:
    made = await box.exec(["sh", "-c", "read said; echo heard $said"], stdin=True)
    async with made.start() as stream:
        await stream.write_in(b"this\n")
        message = await stream.read_out()
        assert message.data == b"heard this\n"
        assert await stream.read_out() is None
    assert (await made.inspect())["ExitCode"] == 0
    await made.resize(h=10, w=10) if (await made.inspect())["Running"] else None
    assert await (await box.exec(["echo", "out"])).start(detach=True) == b""


async def test_attached(docker: aiodocker.Docker) -> None:
    config = {"Image": IMAGE, "Cmd": ["cat"], "OpenStdin": True, "AttachStdin": True, "Tty": False}
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
    context = archive("Dockerfile", f"FROM {IMAGE}\nRUN echo built > /made\n".encode())
    if encoding == "gzip":
        import gzip

        context = gzip.compress(context)
    said = await docker.images.build(fileobj=io.BytesIO(context), encoding=encoding, tag="aio:built")
    assert any("Successfully tagged" in each.get("stream", "") for each in said)
    await docker.images.tag("aio:built", repo="aio", tag="2")
    assert {"aio:built", "aio:2"} <= {tag for each in await docker.images.list() for tag in each["RepoTags"] or ()}
    assert await docker.images.history("aio:2")
    whole = io.BytesIO()
    async with docker.images.export_image("aio:2") as content:
        async for chunk in content.iter_chunked(1 << 16):
            whole.write(chunk)
    await docker.images.delete("aio:2")
    await docker.images.delete("aio:built", force=True)
    loaded = await docker.images.import_image(whole.getvalue())
    assert "aio:2" in json.dumps(loaded)
    await docker.images.delete("aio:2")
    with pytest.raises(aiodocker.exceptions.DockerError):
        await docker.images.pull("registry.example:5000/none:1")


async def test_networks_and_volumes(docker: aiodocker.Docker, box: Any) -> None:
    network = await docker.networks.create({"Name": "aio"})
    assert (await network.show())["Attachable"]
    await network.connect({"Container": box._id, "EndpointConfig": {"Aliases": ["known"]}})
    assert box._id in (await network.show())["Containers"]
    await network.disconnect({"Container": box._id})
    assert "aio" in {each["Name"] for each in await docker.networks.list(filters={"name": ["aio"]})}
    assert await network.delete()
    volume = await docker.volumes.create({"Name": "aio", "Labels": {"a": "b"}})
    assert (await volume.show())["Labels"]["a"] == "b"
    assert [each["Name"] for each in (await docker.volumes.list(filters={"label": "a=b"}))["Volumes"]] == ["aio"]
    await volume.delete()


async def test_services_tasks_and_nodes(docker: aiodocker.Docker) -> None:
    template = {"ContainerSpec": {"Image": IMAGE, "Command": ["sh"], "Args": TALK[1:], "StopGracePeriod": 0}}
    made = await docker.services.create(task_template=template, name="aio", mode={"Replicated": {"Replicas": 2}})
    async with asyncio.timeout(40):
        while [t["Status"]["State"] for t in await docker.tasks.list(filters={"service": "aio"})] != ["running"] * 2:
            await asyncio.sleep(0.05)
    shown = await docker.services.inspect(made["ID"])
    assert (await docker.services.list(filters={"name": "aio"}))[0]["ID"] == made["ID"]
    assert await docker.services.update(service_id="aio", version=shown["Version"]["Index"], image=IMAGE)
    lines = await docker.services.logs("aio", stdout=True)
    assert "two" in "".join(lines)
    (task, *_) = await docker.tasks.list(filters={"service": "aio"})
    assert (await docker.tasks.inspect(task["ID"]))["ServiceID"] == made["ID"]
    assert await docker.services.delete("aio")
    nodes = await docker.nodes.list()
    node = await docker.nodes.inspect(node_id=nodes[0]["ID"])
    spec = {**node["Spec"], "Labels": {"aio": "1"}}
    assert await docker.nodes.update(node_id=node["ID"], version=node["Version"]["Index"], spec=spec)


async def test_secrets_and_configs(docker: aiodocker.Docker) -> None:
    secret = await docker.secrets.create("aio", "hush", labels={"a": "b"})
    config = await docker.configs.create("aio", "plain")
    shown = await docker.configs.inspect(config["ID"])
    assert base64.b64decode(shown["Spec"]["Data"]) == b"plain"
    assert [each["ID"] for each in await docker.secrets.list(filters={"label": "a=b"})] == [secret["ID"]]
    await docker.secrets.delete("aio")
    await docker.configs.delete("aio")


async def test_the_swarm(docker: aiodocker.Docker) -> None:
    assert (await docker.swarm.inspect())["JoinTokens"]["Worker"]
    with pytest.raises(aiodocker.exceptions.DockerError, match="already part of a swarm"):
        await docker.swarm.init()
    with pytest.raises(aiodocker.exceptions.DockerError, match="swarm-worker leave"):
        await docker.swarm.leave(force=True)
    assert (await docker.swarm.inspect())["ID"]


async def test_events(docker: aiodocker.Docker) -> None:
    subscriber = docker.events.subscribe()
    made = await docker.volumes.create({"Name": "evented"})
    async with asyncio.timeout(20):
        while (event := await subscriber.get())["Action"] != "create" or event["Type"] != "volume":
            assert event is not None
    assert event["Actor"]["ID"] == "evented"
    await made.delete()
    await docker.events.stop()

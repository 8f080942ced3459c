"""What tools do with PyPI's `docker`, on a real cluster: a session at its manager. It blocks: use a thread."""

import gc
import io
import tarfile
import time
from typing import Any

import docker
import pytest

IMAGE = "busybox:lab"
DOCKERFILE = f"FROM {IMAGE}\nRUN echo built > /made\n"


def session(host: str) -> None:
    client = docker.DockerClient(base_url=host, version="auto")
    began = int(time.time()) - 1
    try:
        assert client.ping()
        assert client.plugins.list() == []
        containers(client)
        files_and_programs(client)
        images(client)
        services(client)
        networks_and_volumes(client)
        events(client, began)
    finally:
        client.close()
        gc.collect()  # streams that the SDK leaves open are closed now, not in another test


def containers(client: Any) -> None:
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    with pytest.raises(docker.errors.ContainerError) as failed:
        client.containers.run(IMAGE, ["sh", "-c", "echo wrong >&2; exit 3"], remove=True)
    assert failed.value.exit_status == 3
    box = client.containers.run(IMAGE, ["sh", "-c", "echo one; echo two; sleep 1000"], name="sdk", detach=True)
    stream = box.logs(stream=True, follow=True)
    assert b"".join(next(stream) for _ in range(2)) == b"one\ntwo\n"
    stream.close()
    assert box.top()["Titles"]
    assert box.stats(stream=False)["name"] == "/sdk"
    assert [each.name for each in client.containers.list(filters={"name": "sdk"})] == ["sdk"]
    box.pause()
    box.unpause()
    box.rename("sdk2")
    assert client.containers.get("sdk2").id == box.id
    box.kill()
    assert box.wait()["StatusCode"] == 137
    box.start()


def files_and_programs(client: Any) -> None:
    box = client.containers.get("sdk2")
    assert box.exec_run(["sh", "-c", "echo out; exit 4"]) == (4, b"out\n")
    _, (out, err) = box.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
    assert (out, err) == (b"out\n", b"err\n")
    assert b"".join(box.exec_run(["seq", "3"], stream=True).output) == b"1\n2\n3\n"
    assert box.put_archive("/tmp", archive("there", b"carried"))
    chunks, seen = box.get_archive("/tmp/there")
    assert seen["size"] == len(b"carried")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        assert tar.extractfile("there").read() == b"carried"  # type: ignore[union-attr]
    assert {"Path": "/tmp/there", "Kind": 1} in box.diff()
    box.remove(force=True)
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("sdk2")


def archive(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def images(client: Any) -> None:
    image, said = client.images.build(fileobj=io.BytesIO(DOCKERFILE.encode()), tag="sdk:1")
    assert any("Step 2/2" in each.get("stream", "") for each in said)
    assert client.images.get("sdk:1").id == image.id
    assert image.tag("sdk", "2")
    assert b"".join(client.images.get("sdk:2").save())[:4] != b""
    assert client.containers.run("sdk:2", ["cat", "/made"], remove=True) == b"built\n"
    with pytest.raises(docker.errors.BuildError, match="non-zero code"):
        client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nRUN false\n".encode()))


def services(client: Any) -> None:
    """A service of an image that only the cluster has."""
    command = ["sh", "-c", "echo started; exec sleep 1000"]
    service = client.services.create(
        "sdk:1", command, name="sdk", mode=docker.types.ServiceMode("replicated", 3), stop_grace_period=0
    )
    tasks = wait_for_tasks(service, 3)
    assert {task["Status"]["State"] for task in tasks} == {"running"}
    assert b"".join(service.logs(stdout=True)).count(b"started") == 3
    own = client.containers.list(filters={"label": "com.docker.swarm.service.name=sdk"})
    assert {box.exec_run(["cat", "/made"]).output for box in own} == {b"built\n"}
    service.reload()
    service.scale(1)
    wait_for_tasks(service, 1)
    service.remove()
    for tag in ("sdk:1", "sdk:2"):
        client.images.remove(tag, force=True)


def wait_for_tasks(service: Any, count: int) -> list[Any]:
    deadline = time.monotonic() + 30
    while True:
        tasks = service.tasks(filters={"desired-state": "running"})
        if len(tasks) == count and all(task["Status"]["State"] == "running" for task in tasks):
            return list(tasks)
        assert time.monotonic() < deadline, tasks
        time.sleep(0.05)


def networks_and_volumes(client: Any) -> None:
    network = client.networks.create("sdk-net", driver="overlay", attachable=True, labels={"a": "b"})
    assert [each.id for each in client.networks.list(names=["sdk-net"])] == [network.id]
    assert "sdk-net" in client.networks.prune(filters={"label": "a=b"})["NetworksDeleted"]
    volume = client.volumes.create("sdk-data")
    assert volume in client.volumes.list()
    volume.remove()
    assert client.df()["Images"]


def events(client: Any, began: int) -> None:
    told = client.events(since=began, until=int(time.time()) + 1, decode=True)
    kinds = {(event["Type"], event["Action"]) for event in told}
    assert {
        ("container", "start"),
        ("container", "destroy"),
        ("image", "tag"),
        ("service", "create"),
        ("service", "remove"),
        ("network", "create"),
        ("volume", "create"),
    } <= kinds

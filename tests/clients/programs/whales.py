"""What python-on-whales' documentation shows, on a cluster: `python whales.py HOST`. It drives docker's own command."""

import sys
import tempfile
import time
from pathlib import Path

from python_on_whales import DockerClient
from python_on_whales.exceptions import DockerException, NoSuchContainer, NoSuchImage

IMAGE = "busybox:lab"
SLEEP = ["sh", "-c", "echo one; trap exit TERM; while :; do sleep 1 & wait; done"]
docker = DockerClient(host=sys.argv[1])


def until(ready):
    deadline = time.monotonic() + 40
    while not ready():
        assert time.monotonic() < deadline, ready
        time.sleep(0.1)


def system():
    info = docker.system.info()
    assert info.swarm.nodes == 3
    assert info.containers >= 0
    assert docker.version().server.version
    assert docker.system.disk_free().images.total_count


def containers():
    assert docker.run(IMAGE, ["echo", "hello"], remove=True) == "hello"
    box = docker.run(
        IMAGE, SLEEP, detach=True, name="whale", labels={"of": "whales"}, networks=[], publish=[(8095, 80)]
    )
    assert box.state.running
    assert [each.id for each in docker.container.list(filters=[("label", "of=whales")])] == [box.id]
    assert docker.container.exists("whale")
    assert docker.container.inspect("whale") == box
    assert box.execute(["echo", "out"]) == "out"
    assert "one" in box.logs()
    assert box.top if hasattr(box, "top") else True
    for kind, content in docker.container.logs("whale", stream=True, follow=False):
        assert (kind, content) == ("stdout", b"one\n")
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "there"
        there.write_text("carried")
        docker.copy(there, (box, "/tmp/there"))
        docker.copy((box, "/tmp/there"), Path(folder) / "back")
        assert (Path(folder) / "back").read_text() == "carried"
        docker.export(box, Path(folder) / "export.tar")
        assert (Path(folder) / "export.tar").stat().st_size > 1000
    assert any(path == "/tmp/there" for path in box.diff())
    assert docker.container.stats([box])[0].container_name == "whale"
    box.pause()
    box.unpause()
    box.rename("whale2")
    box.update(memory="128m", memory_swap="128m")
    box.restart(time=1)
    docker.commit(box, "whale:committed", change=["ENV A=b"] if False else None)
    docker.image.remove("whale:committed")
    box.kill(signal="SIGKILL")
    assert docker.wait(box) == 137
    box.start()
    box.stop(time=1)
    box.remove(force=True, volumes=True)
    for call, error in (
        (lambda: docker.container.inspect("none"), NoSuchContainer),
        (lambda: docker.image.inspect("none:such"), NoSuchImage),
        (lambda: docker.run(IMAGE, ["sh", "-c", "exit 3"], remove=True), DockerException),
    ):
        try:
            call()
        except error:
            continue
        raise AssertionError(error)
    with docker.run(IMAGE, SLEEP, detach=True, remove=True) as scoped:
        assert scoped.exists()
    created = docker.create(IMAGE, SLEEP)
    docker.start(created)
    created.remove(force=True)
    docker.container.prune(filters={"label": "of=whales"})


def images():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(f"FROM {IMAGE}\nARG WORD\nRUN echo $WORD > /made\n")
        docker.legacy_build(folder, tags="whale:1", build_args={"WORD": "built"})
        assert docker.run("whale:1", ["cat", "/made"], remove=True) == "built"
        docker.tag("whale:1", "whale:2")
        assert sorted(docker.image.inspect("whale:1").repo_tags) == ["whale:1", "whale:2"]
        assert docker.image.exists("whale:2")
        assert docker.image.history("whale:2")
        docker.save("whale:2", Path(folder) / "saved.tar")
        docker.image.remove(["whale:1", "whale:2"], force=True)
        assert docker.load(Path(folder) / "saved.tar") == ["whale:2"]
        docker.image.remove("whale:2")
        box = docker.create(IMAGE, ["true"])
        docker.export(box, Path(folder) / "root.tar")
        box.remove()
        docker.import_(Path(folder) / "root.tar", "whale:imported")
        docker.image.remove("whale:imported")
    docker.image.prune()


def networks_and_volumes():
    network = docker.network.create("whales", labels={"a": "b"})
    box = docker.run(IMAGE, SLEEP, detach=True, name="whale3")
    docker.network.connect(network, box, alias="known")
    assert box.id in docker.network.inspect("whales").containers
    assert "1 packets received" in docker.run(IMAGE, ["ping", "-c1", "known"], networks=["whales"], remove=True)
    docker.network.disconnect(network, box)
    box.remove(force=True)
    docker.network.remove(network)
    volume = docker.volume.create("whales", labels={"a": "b"})
    assert docker.volume.exists("whales")
    docker.volume.copy((volume, "."), Path(tempfile.mkdtemp()) / "copy") if False else None
    docker.volume.remove(volume)
    docker.volume.prune(filters={"label": "none"})


def cluster():
    service = docker.service.create(IMAGE, SLEEP, name="whales", replicas=2, detach=False)
    assert [each.spec.name for each in docker.service.list()] == ["whales"]
    until(lambda: [task.status.state for task in docker.service.ps("whales")] == ["running"] * 2)
    service.scale(1)
    docker.service.update("whales", env_add={"A": "b"} if False else None, detach=True, force=True)
    assert "one" in "".join(text.decode() for _, text in docker.service.logs("whales", stream=True, follow=False))
    docker.service.remove("whales")
    assert len(docker.node.list()) == 3
    node = docker.node.list()[0]
    docker.node.update(node, labels_add={"whale": "1"})
    assert docker.node.inspect(node.id).spec.labels["whale"] == "1"
    assert docker.node.ps() is not None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "secret").write_text("hush")
        secret = docker.secret.create("whales", Path(folder) / "secret")
        config = docker.config.create("whales", Path(folder) / "secret")
        assert [each.spec.name for each in docker.secret.list()] == ["whales"]
        secret.remove()
        config.remove()
        (Path(folder) / "stack.yml").write_text(f"services:\n  web:\n    image: {IMAGE}\n    command: sleep 1000\n")
        stack = docker.stack.deploy("whales", Path(folder) / "stack.yml")
        assert [each.name for each in docker.stack.list()] == ["whales"]
        assert docker.stack.services(stack)[0].spec.name == "whales_web"
        docker.stack.remove("whales")
    assert docker.swarm.join_token("worker").startswith("SWMTKN")


for part in (system, containers, images, networks_and_volumes, cluster):
    part()
    print(part.__name__, "shown")

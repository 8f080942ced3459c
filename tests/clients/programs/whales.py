"""What python-on-whales' documentation shows, on a cluster: `python whales.py HOST`. It drives docker's own command.

Not shown is what starts a builder of its own from a registry (`docker.build`, and `volume.copy`, which builds), or what
the package has not implemented (`image.history`, `container.top`, `service.rollback`).
"""

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from python_on_whales import DockerClient
from python_on_whales.exceptions import DockerException, NoSuchContainer, NoSuchImage

IMAGE = "busybox:lab"
SLEEP = ["sh", "-c", "echo one; trap exit TERM; while :; do sleep 1 & wait; done"]
docker = DockerClient(host=sys.argv[1])


def refused(error, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except error:
        return
    raise AssertionError(f"{call} raised no {error}")


def system():
    info = docker.system.info()
    assert info.swarm.nodes == 3
    assert info.images >= 3
    assert docker.version().server.version
    assert docker.system.disk_free().images.total_count
    assert docker.plugin.list() == []
    refused(DockerException, docker.plugin.install, "none/such:1")
    refused(DockerException, docker.login, "127.0.0.1:9", username="x", password="y")
    began = datetime.now(UTC) - timedelta(seconds=1)
    docker.volume.remove(docker.volume.create("evented"))
    events = docker.system.events(since=began, until=datetime.now(UTC) + timedelta(seconds=1))
    assert {"create", "destroy"} <= {each.action for each in events if each.actor.id == "evented"}


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
    docker.container.update(box, memory="128m", memory_swap="128m")
    assert docker.container.inspect(box.id).host_config.memory == 128 << 20
    box.restart(time=1)
    docker.commit(box, "whale:committed", author="a", message="m")
    docker.image.remove("whale:committed")
    box.kill(signal="SIGKILL")
    assert docker.wait(box) == 137
    box.start()
    box.stop(time=1)
    box.remove(force=True, volumes=True)
    refused(NoSuchContainer, docker.container.inspect, "none")
    refused(NoSuchImage, docker.image.inspect, "none:such")
    refused(DockerException, docker.run, IMAGE, ["sh", "-c", "exit 3"], remove=True)
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
        assert [each.repo_tags for each in docker.image.list("whale:2")] == [["whale:1", "whale:2"]]
        docker.image.copy_from("whale:2", "/made", Path(folder) / "made")
        assert (Path(folder) / "made").read_text() == "built\n"
        docker.image.copy_to("whale:2", Path(folder) / "made", "/again", "whale:3")
        assert docker.run("whale:3", ["cat", "/again"], remove=True) == "built"
        docker.image.remove("whale:3")
        docker.tag("whale:2", "127.0.0.1:9/none:1")
        for call in (docker.push, docker.pull):
            refused(DockerException, call, "127.0.0.1:9/none:1")
        docker.image.remove("127.0.0.1:9/none:1")
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
    docker.volume.remove(volume)
    docker.volume.prune(filters={"label": "none"})


def cluster():
    service = docker.service.create(IMAGE, SLEEP, labels={"of": "whales"}, envs={"A": "b"}, hostname="h")
    name = service.spec.name
    assert [each.spec.name for each in docker.service.list(filters=[("label", "of=whales")])] == [name]
    service.scale(2)
    assert [each.status.state for each in docker.service.ps(service)] == ["running"] * 2
    docker.service.update(service, force=True, replicas=1)
    assert "one" in "".join(text.decode() for _, text in docker.service.logs(service, stream=True, follow=False))
    assert docker.service.exists(name)
    assert not docker.service.exists("none")
    service.remove()
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
        assert docker.stack.ps(stack)[0].desired_state == "running"
        docker.stack.remove("whales")
    docker.swarm.update(task_history_limit=4)
    for part in (docker.swarm.init, docker.swarm.leave):
        refused(DockerException, part)
    assert docker.swarm.join_token("worker").startswith("SWMTKN")


for part in (system, containers, images, networks_and_volumes, cluster):
    part()
    print(part.__name__, "shown")

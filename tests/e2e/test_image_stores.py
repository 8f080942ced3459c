"""Images between engines of both kinds: with an image store of their own, and with containerd's."""

from pathlib import Path

import pytest

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.lab.host import Host

pytestmark = [pytest.mark.timeout(120), long]

DOCKERFILE = 'FROM busybox:lab\nRUN echo {name} > /name\nCMD ["/bin/sleep", "1000"]\n'


async def build(host: Host, name: str) -> str:
    """Build an image on one host, by its own engine; return its id there."""
    folder = host.folder / name
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE.format(name=name))
    await host.run("docker", "build", "-q", "-t", f"{name}:1", folder, env={"DOCKER_BUILDKIT": "0"})
    return await host.docker("inspect", "--format", "{{.Id}}", f"{name}:1")


async def test_an_image_runs_on_engines_of_either_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same image has another id there; it is the same all the same, and comes once."""
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "etc/docker/daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
    monkeypatch.setenv("SWARM_LAB_DOCKER", f"h2={tmp_path}")
    async with Cluster("stores", hosts=2) as cluster:
        own, containerd = cluster.hosts
        assert "overlayfs" in await containerd.docker("info", "--format", "{{.Driver}}")
        for builder, other, name in ((own, containerd, "own"), (containerd, own, "its")):
            image_id = await build(builder, name)
            await cluster.adopt(builder, f"{name}:1")
            await cluster.swarm("service", "create", "-q", "--detach", "--name", name, "--mode", "global", f"{name}:1")
            await cluster.running(name, 2)
            ids = {}
            for host in cluster.hosts:
                (box,) = [each for each in await cluster.containers(host) if name in each["Name"]]
                ids[host.name] = box["Image"]
                assert await host.docker("exec", box["Id"], "cat", "/name") == name
            assert ids[builder.name] == image_id
            assert ids[other.name] != image_id
            await cluster.swarm("service", "update", "-q", "--detach", "--force", name)
            await cluster.running(name, 2)
        # What a client starts on the other kind of host is made of the image by its id there.
        on_first = ("-e", "constraint:node.hostname==h1", "its:1", "cat", "/name")
        assert (await own.run("docker", "-H", cluster.api, "run", "--rm", *on_first)).stdout.strip() == "its"
        for host in cluster.hosts:
            fetched = await host.run("cat", "/var/lib/swarm-worker/fetched-images.json")
            assert fetched.stdout.count('"name"') == 1

"""The real docker command line, and ours, with names of images: given, shown, taken away, adopted."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import DockerCli
from tests.api.swarm_cli import SwarmCli
from tests.fakes.api_cluster import WORKER2, ApiCluster
from tests.fakes.image_engine import ImageEngines

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
ROWS = ("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[ImageEngines]:
    async with ImageEngines(cluster) as engines:
        yield engines


async def test_what_clients_name_is_the_clusters_and_the_rest_a_nodes(docker: DockerCli, engines: ImageEngines) -> None:
    engines.own.builds = ONE
    engines.one.put(TWO, "web:1", "reg.example:5000/db:7")
    (docker.folder / "Dockerfile").write_text("FROM scratch\n")
    await docker.ok("build", "-q", "-t", "web:1", str(docker.folder))
    listed = await docker.ok(*ROWS)
    assert set(listed.splitlines()) == {
        f"web:1 {ONE}",
        f"w1.node/web:1 {TWO}",
        f"w1.node/reg.example__5000/db:7 {TWO}",
    }
    for name, image_id in (("web:1", ONE), ("w1.node/web:1", TWO), ("w1.node/reg.example__5000/db:7", TWO)):
        assert await docker.ok("image", "inspect", "-f", "{{.Id}}", name) == image_id
    assert await docker.ok("images", "-q", "--no-trunc", "web") == ONE
    created = await docker.run("service", "create", "-d", "--name", "web", "web:1")
    assert (created.code, created.err) == (0, ""), "it is pinned, and nothing is warned of"
    image = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
    assert await docker.ok("service", "inspect", "-f", image, "web") == f"web:1@{ONE}"

    await docker.ok("tag", "w1.node/web:1", "web:2")
    assert f"web:2 {TWO}" in await docker.ok(*ROWS)
    assert "Untagged: web:2" in await docker.ok("rmi", "web:2")
    refused = await docker.run("rmi", "web:1")
    assert (refused.code, "service web uses its image" in refused.err) == (1, True)


async def test_a_service_of_one_nodes_own_image_is_refused_with_advice(
    docker: DockerCli, engines: ImageEngines
) -> None:
    engines.one.put(ONE, "web:1")
    refused = await docker.run("service", "create", "-d", "w1.node/web:1")
    assert (refused.code, "swarm-manager image adopt NODE NAME" in refused.err) == (1, True)
    unknown = await docker.run("image", "inspect", "web:1")
    assert (unknown.code, "w1.node/web:1" in unknown.err) == (1, True)


async def test_an_image_that_nobody_holds_is_warned_of(docker: DockerCli, engines: ImageEngines) -> None:
    engines.own.builds = ONE
    (docker.folder / "Dockerfile").write_text("FROM scratch\n")
    await docker.ok("build", "-q", "-t", "web:1", str(docker.folder))
    engines.own.images.clear()
    assert f"web:1 {ONE}" in await docker.ok(*ROWS)
    created = await docker.run("service", "create", "-d", "--name", "web", "web:1")
    assert (created.code, "which no connected node has" in created.err) == (0, True)
    del engines.by_node[WORKER2]  # it is up, and not yet connected to a manager that has just begun to lead
    created = await docker.run("service", "create", "-d", "--name", "other", "web:1")
    assert (created.code, created.err) == (0, "")
    assert await docker.ok("rmi", "-f", "web:1") == "Untagged: web:1"
    assert await docker.ok(*ROWS) == ""


async def test_run_pulls_unnamed_images_but_not_the_clusters(docker: DockerCli, engines: ImageEngines) -> None:
    engines.own.registry["busybox:1"] = ONE
    assert await docker.ok("create", "busybox:1")
    assert engines.own.paths("POST").count("/images/create") == 1
    engines.own.builds = TWO
    (docker.folder / "Dockerfile").write_text("FROM scratch\n")
    await docker.ok("build", "-q", "-t", "web:1", str(docker.folder))
    engines.own.images.clear()
    engines.own.registry["web:1"] = THREE
    refused = await docker.run("create", "web:1")
    assert (refused.code, "which no connected node has" in refused.err) == (1, True)
    assert engines.own.paths("POST").count("/images/create") == 1, "no stranger's image comes in its place"


async def test_adopting(swarm: SwarmCli, cluster: ApiCluster, engines: ImageEngines) -> None:
    engines.one.put(ONE, "web:1", "db:1")
    engines.two.put(TWO, "web:1", "own:1")
    assert await swarm.ok("image", "adopt", "w1", "web:1") == f"web:1 {ONE}"
    assert await swarm.ok("image", "adopt", "w1", "db:1", "team/db:2") == f"team/db:2 {ONE}"
    taken = await swarm.run("image", "adopt", "w2", "web:1")
    assert (taken.code, "use force" in taken.err) == (1, True)
    several = await swarm.run("image", "adopt", "--all", "w2")
    assert (several.code, several.out) == (1, f"own:1 {TWO}\n")
    assert f"web:1 is not adopted: it is image {ONE} (adopt by " in several.err
    assert await swarm.ok("image", "adopt", "--all", "--force", "w2") == f"own:1 {TWO}\nweb:1 {TWO}"
    assert {(e.path, e.status) for e in cluster.audited if e.path.endswith("/adopt")} == {
        (f"/nodes/{node}/images/adopt", status) for node, status in (("w1", 200), ("w2", 200), ("w2", 409))
    }
    listed = await swarm.ok("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}}")
    assert listed.splitlines() == ["team/db:2", "w1.node/db:1", "w1.node/web:1", "own:1", "web:1"]
    for arguments in (("w1",), ("--all", "w1", "web:1")):
        ran = await swarm.run("image", "adopt", *arguments)
        assert (ran.code, "or use --all" in ran.err) == (1, True)


async def test_an_archive_names_images(docker: DockerCli, engines: ImageEngines) -> None:
    """The engine that is not there reads lines in place of archives."""
    file = docker.folder / "images.tar"
    file.write_text(f"{ONE} web:1\n")
    assert "Loaded image: web:1" in await docker.ok("load", "-i", str(file))
    assert await docker.ok(*ROWS) == f"web:1 {ONE}"
    assert json.loads(await docker.ok("image", "inspect", "web:1"))[0]["ClusterNames"][0]["How"] == "load"
    assert await docker.ok("save", "web:1", "-o", str(docker.folder / "out")) == ""
    assert (docker.folder / "out").read_text() == "archive of web:1"

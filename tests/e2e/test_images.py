"""Images without a registry, on three real engines: built on the cluster, fetched from worker to worker."""

import asyncio
import io
import random
import signal
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.lab.host import Host
from tests.lab.images import Image, docker_archive
from tests.lab.process import Result

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

DOCKERFILE = """\
FROM busybox:lab
ARG STAMP=none
LABEL stamp=$STAMP
RUN echo $STAMP > /stamp
CMD ["/bin/sleep", "1000"]
"""
MIB = 1024 * 1024

Docker = Callable[..., Awaitable[Result]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Cluster]:
    async with Cluster("images", hosts=3) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(shared: Cluster) -> AsyncIterator[Cluster]:
    """Give each test the cluster without services, and with the lab's images alone."""
    at_first = await images_in(shared)
    yield shared
    docker = docker_of(shared)
    if services := (await docker("service", "ls", "-q")).stdout.split():
        await docker("service", "rm", *services)
    for host in shared.hosts:
        await host.docker("container", "prune", "-f")  # the steps of builds that failed
    await shared.until(partial(no_containers, shared), 60)
    if made := sorted(await images_in(shared) - at_first):
        await docker("rmi", "-f", *made)
    assert await images_in(shared) == at_first


async def images_in(cluster: Cluster) -> set[str]:
    """Return the names of the cluster's images, and of those that are one node's own."""
    listed = (await docker_of(cluster)("images", "--format", "{{.Repository}}:{{.Tag}}")).stdout
    return {name for name in listed.split() if "<none>" not in name}


async def no_containers(cluster: Cluster) -> bool:
    return not any([await host.docker("ps", "-aq") for host in cluster.hosts])


@pytest.fixture
def docker(cluster: Cluster) -> Docker:
    return docker_of(cluster)


def docker_of(cluster: Cluster) -> Docker:
    """Run the docker command line against the manager."""

    async def run(*arguments: str | Path, buildkit: bool = False, check: bool = True) -> Result:
        environment = {"DOCKER_BUILDKIT": "1" if buildkit else "0"}
        return await cluster.manager_host.run(
            "docker", "-H", cluster.api, *arguments, env=environment, check=check, timeout=120
        )

    return run


def context_folder(cluster: Cluster, text: str = DOCKERFILE) -> Path:
    folder = cluster.manager_host.folder / "context"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(text)
    return folder


async def image_id(docker: Docker, name: str) -> str:
    return (await docker("image", "inspect", "--format", "{{.Id}}", name)).stdout.strip()


async def names_of(docker: Docker, image: str) -> list[str]:
    return (await docker("image", "inspect", "--format", '{{join .RepoTags " "}}', image)).stdout.split()


async def images_of_containers(cluster: Cluster) -> dict[str, list[str]]:
    """Return the ids of the images that swarm's containers run, by host."""
    return {host.name: [box["Image"] for box in await cluster.containers(host)] for host in cluster.hosts}


async def ids_on(host: Host) -> set[str]:
    return set((await host.docker("images", "-q", "--no-trunc")).split())


def layer(size: int, seed: bytes = b"x") -> bytes:
    """Return a layer with a file of random bytes of this size, the same for the same seed."""
    content = random.Random(seed).randbytes(size)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("ballast")
        info.size = size
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


async def put_on(host: Host, name: str, size: int) -> str:
    """Have an image with a layer of `size` random bytes on one host only; return its id."""
    archive = host.folder / "image.tar"
    archive.write_bytes(docker_archive([Image("ballast:1", (layer(size),), {})]))
    await host.docker("load", "-q", "-i", str(archive))
    dockerfile = host.folder / "Dockerfile"
    dockerfile.write_text('FROM busybox:lab\nCOPY --from=ballast:1 /ballast /ballast\nCMD ["/bin/sleep", "1000"]\n')
    folder = host.folder / "empty"
    folder.mkdir(exist_ok=True)
    await host.run("docker", "build", "-q", "-t", name, "-f", dockerfile, folder, env={"DOCKER_BUILDKIT": "0"})
    await host.docker("rmi", "ballast:1")
    archive.unlink()
    return (await host.docker("inspect", "--format", "{{.Id}}", name)).strip()


async def test_what_is_built_on_the_cluster_runs_everywhere(cluster: Cluster, docker: Docker) -> None:
    folder = context_folder(cluster)
    await docker("build", "-t", "app:1", "--build-arg", "STAMP=first", folder)
    first = await image_id(docker, "app:1")
    created = await docker("service", "create", "--detach", "--name", "app", "--replicas", "6", "app:1")
    assert "could not be accessed on a registry" not in created.stderr
    await cluster.running("app", 6)
    assert await images_of_containers(cluster) == {host.name: [first, first] for host in cluster.hosts}

    # The tag moves; the service's tasks, new ones too, stay with the image that was chosen.
    await docker("build", "-t", "app:1", "--build-arg", "STAMP=second", folder)
    second = await image_id(docker, "app:1")
    assert second != first
    await docker("service", "scale", "--detach", "app=9")
    await docker("service", "update", "--detach", "--label-add", "a=b", "app")
    await cluster.running("app", 9)
    assert await images_of_containers(cluster) == {host.name: [first] * 3 for host in cluster.hosts}

    await docker("service", "update", "--detach", "--image", "app:1", "--update-parallelism", "0", "app")

    async def replaced() -> bool:
        live = [box for host in cluster.hosts for box in await cluster.containers(host, everything=False)]
        return [box["Image"] for box in live] == [second] * 9

    await cluster.until(replaced, 60)


async def test_a_container_fetches_its_image_too(cluster: Cluster, docker: Docker) -> None:
    folder = context_folder(cluster)
    await docker("build", "-t", "app:1", "--build-arg", "STAMP=first", folder)
    on_third = ("run", "--rm", "-e", "constraint:node.hostname==h3", "app:1", "cat", "/stamp")
    assert (await docker(*on_third)).stdout == "first\n"
    # The third host knows the image by its id alone: the name means the new one there, too.
    await docker("build", "-t", "app:1", "--build-arg", "STAMP=second", folder)
    assert (await docker(*on_third)).stdout == "second\n"


async def test_the_docker_commands_of_images(cluster: Cluster, docker: Docker) -> None:
    folder = context_folder(cluster)
    built = await docker("build", "-t", "team/app:1", folder)
    assert "Successfully tagged team/app:1" in built.stdout
    first = await image_id(docker, "team/app:1")
    only_there = await put_on(cluster.hosts[2], "there:1", 4096)
    assert await names_of(docker, only_there) == ["h3.node/there:1"]
    unknown = await docker("image", "inspect", "there:1", check=False)
    assert (unknown.returncode, "h3.node/there:1" in unknown.stderr) == (1, True)
    assert only_there in (await cluster.swarm("image", "adopt", "h3", "there:1")).stdout

    listed = (await docker("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")).stdout.split("\n")
    assert f"team/app:1 {first}" in listed
    assert f"there:1 {only_there}" in listed
    assert [line.split()[0] for line in listed if line].count("busybox:lab") == 1  # every host has it
    assert "sleep" in (await docker("history", "--no-trunc", "team/app:1")).stdout
    assert "COPY" in (await docker("history", "--no-trunc", "there:1")).stdout

    await docker("tag", "there:1", "there:stable")
    assert await image_id(docker, "there:stable") == only_there
    assert "there:stable" in await cluster.hosts[2].docker("images", "--format", "{{.Repository}}:{{.Tag}}")

    archive = cluster.manager_host.folder / "saved.tar"
    await docker("save", "-o", archive, "there:1")
    assert "Untagged: there:1" in (await docker("rmi", "there:1")).stdout
    assert f"Deleted: {only_there}" in (await docker("rmi", "there:stable")).stdout
    gone = await docker("image", "inspect", "there:1", check=False)
    assert (gone.returncode, "No such image: there:1" in gone.stderr) == (1, True)
    assert "Loaded image: there:1" in (await docker("load", "-i", archive)).stdout
    assert await image_id(docker, "there:1") == only_there
    assert await image_id(docker, only_there[7:19]) == only_there

    pushed = await docker("push", "team/app:1", check=False)
    assert pushed.returncode == 1
    assert "pull" not in pushed.stderr
    pulled = await docker("pull", "no-such-host.invalid/x:1", check=False)
    assert (pulled.returncode, "no-such-host.invalid" in pulled.stderr) == (1, True)


async def test_a_name_that_no_client_gave_is_each_nodes_own(cluster: Cluster, docker: Docker) -> None:
    """Newer or not, what one host has by a name runs on no other, and no service is pinned to it."""
    own = {host.name: await put_on(host, "mine:1", size) for size, host in enumerate(cluster.hosts, 4096)}
    assert len(set(own.values())) == 3
    create = ("service", "create", "--detach", "--mode", "global", "--no-resolve-image", "--name", "mine", "mine:1")
    await docker(*create)
    await cluster.running("mine", 3)
    assert await images_of_containers(cluster) == {name: [image] for name, image in own.items()}
    shown = await docker("service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "mine")
    assert shown.stdout.strip() == "mine:1"
    made = await docker("create", "-e", "constraint:node.hostname==h2", "mine:1")
    assert own["h2"] in await cluster.hosts[1].docker("inspect", made.stdout.strip())
    await docker("rm", made.stdout.strip())
    assert {await image_id(docker, f"{name}.node/mine:1") for name in own} == set(own.values())


async def test_buildkit_builds_on_the_cluster(cluster: Cluster, docker: Docker) -> None:
    if (await docker("buildx", "version", check=False)).returncode:
        pytest.skip("docker-buildx is not installed")
    folder = context_folder(cluster)
    await docker("build", "-t", "kit:1", "--build-arg", "STAMP=kit", folder, buildkit=True)
    again = await docker("build", "-t", "kit:2", "--build-arg", "STAMP=kit", folder, buildkit=True)
    assert "CACHED" in again.stderr
    assert await image_id(docker, "kit:1") == await image_id(docker, "kit:2")
    await docker("service", "create", "--detach", "--name", "kit", "--replicas", "3", "kit:2")
    await cluster.running("kit", 3)


@long
async def test_an_image_that_a_service_names_is_not_cleared_away(cluster: Cluster, docker: Docker) -> None:
    folder = context_folder(cluster)
    await docker("build", "-t", "app:1", "--build-arg", "STAMP=kept", folder)
    kept = await image_id(docker, "app:1")
    await docker("service", "create", "--detach", "--name", "app", "--replicas", "3", "app:1")
    await cluster.running("app", 3)
    await docker("service", "scale", "--detach", "app=0")
    await cluster.until(partial(no_containers, cluster), 30)
    refused = await docker("rmi", "app:1", check=False)
    assert (refused.returncode, "service app uses its image" in refused.stderr) == (1, True)
    await docker("build", "-t", "app:1", "--build-arg", "STAMP=new", folder)
    await docker("image", "prune", "-f")
    assert all([kept in await ids_on(host) for host in cluster.hosts])

    await docker("service", "rm", "app")

    async def cleared() -> bool:
        await docker("image", "prune", "-f")
        return not any([kept in await ids_on(host) for host in cluster.hosts])

    await cluster.until(cleared, 30)
    assert "busybox" in (await docker("images")).stdout


COMPOSE = """\
services:
  web:
    build: {context: src, dockerfile: Web.dockerfile, args: {STAMP: "7"}, target: last, labels: {kind: built}}
    deploy: {replicas: 3}
  side:
    image: side:1
    build: src
  elsewhere:
    image: busybox:lab
    build: ./not-here
    command: sleep 1000
"""


async def test_a_stack_is_built_and_deployed(cluster: Cluster, docker: Docker) -> None:
    source = context_folder(cluster).rename(cluster.manager_host.folder / "src")
    (source / ".dockerignore").write_text("*.log\n!keep.log\n")
    for name in ("drop.log", "keep.log"):
        (source / name).write_text(name)
    (source / "Web.dockerfile").write_text(
        "FROM busybox:lab AS first\nFROM first AS last\nARG STAMP\nRUN echo $STAMP > /stamp\nCOPY . /src\n"
        'CMD ["/bin/sleep", "1000"]\nFROM nowhere:0\n'
    )
    file = cluster.manager_host.folder / "compose.yaml"
    file.write_text(COMPOSE)
    deployed = await cluster.swarm("stack", "deploy", "-c", file, "Shop", timeout=120)
    assert "Building image shop_web" in deployed.stdout
    assert "elsewhere is not built, busybox:lab is used as it is" in deployed.stderr
    built = await image_id(docker, "shop_web")
    boxes = [box for host in cluster.hosts for box in await cluster.containers(host)]
    web = [box for box in boxes if box["Name"].startswith("/Shop_web.")]
    assert [box["Image"] for box in web] == [built] * 3
    container = web[0]["Id"]
    assert (await docker("exec", container, "cat", "/stamp")).stdout == "7\n"
    listed = (await docker("exec", container, "ls", "-A", "/src")).stdout.split()
    assert "keep.log" in listed
    assert "drop.log" not in listed
    assert (await docker("image", "inspect", "-f", "{{.Config.Labels.kind}}", "shop_web")).stdout.strip() == "built"

    again = await cluster.swarm("stack", "deploy", "--no-build", "--detach", "-c", file, "Shop")
    assert "Building" not in again.stdout
    await cluster.swarm("stack", "rm", "Shop")


async def test_the_commands_of_our_own(cluster: Cluster) -> None:
    folder = context_folder(cluster)
    shown = await cluster.swarm("image", "build", "-t", "own:1", "--build-arg", "STAMP=x", folder)
    assert "Successfully tagged own:1" in shown.stdout
    build = ("swarm-manager", "-H", cluster.api, "image", "build", "-q", "-t", "own:2", "--build-arg", "STAMP", folder)
    quiet = await cluster.manager_host.run(*build, env={"STAMP": "x"})
    listed = (await cluster.swarm("image", "ls", "--no-trunc")).stdout
    assert [line.split()[:3] for line in listed.splitlines() if line.startswith("own")] == [
        ["own", tag, quiet.stdout.strip()] for tag in "12"
    ]
    (folder / "Dockerfile").write_text("FROM busybox:lab\nRUN echo oh dear && exit 7\n")
    failed = await cluster.swarm("image", "build", "-q", folder, check=False)
    assert (failed.returncode, "oh dear" in failed.stderr, "non-zero code: 7" in failed.stderr) == (1, True, True)
    assert (await cluster.swarm("image", "rm", "own:1", "own:2")).stdout.startswith("Untagged: own:1\n")
    assert "own" not in (await cluster.swarm("image", "ls")).stdout
    absent = await cluster.swarm("image", "rm", "own:1", check=False)
    assert (absent.returncode, "No such image: own:1" in absent.stderr) == (1, True)


async def test_where_nobody_has_the_image_the_task_says_so(cluster: Cluster, docker: Docker) -> None:
    absent = "gone:1@sha256:" + "ab" * 32
    await docker("service", "create", "--detach", "--name", "app", "--restart-condition", "none", absent)

    def rejected(tasks: list[Any]) -> bool:
        return any("no connected node has it" in task["Status"].get("Err", "") for task in tasks)

    async def look() -> bool:
        return rejected(await cluster.tasks("app", desired=""))

    await cluster.until(look, 60)


@long
async def test_a_source_that_dies_in_the_middle_is_followed_by_another() -> None:
    async with Cluster("images-loss", hosts=4) as cluster:
        _, *sources, last = cluster.hosts
        there = await put_on(sources[0], "big:1", 64 * MIB)
        await cluster.adopt(sources[0], "big:1")
        create = ("service", "create", "--detach", "--name", "big", "--replicas-max-per-node", "1")
        first = ("--constraint", "node.hostname==h3")
        await cluster.manager_host.run("docker", "-H", cluster.api, *create, *first, "big:1")
        await cluster.running("big", 1, timeout=60)
        for host in sources:  # so slow that a source dies in the middle for sure
            await slow_down(host)
        change = ("service", "update", "--detach", "--constraint-rm", "node.hostname==h3")
        await cluster.manager_host.run(
            "docker",
            "-H",
            cluster.api,
            *change,
            "--constraint-add",
            "node.hostname==h4",
            "--update-order",
            "start-first",
            "big",
        )
        message = ""

        async def fetching() -> bool:
            nonlocal message
            messages = [task["Status"].get("Message", "") for task in await cluster.tasks("big", desired="")]
            message = next((each for each in messages if each.startswith("fetching image from h")), "")
            return bool(message)

        await cluster.until(fetching, 60)
        await asyncio.sleep(1)
        dying, other = sorted(sources, key=lambda host: f"from {host.name} " not in message)
        await dying.power_off()
        await other.run("tc", "qdisc", "del", "dev", "eth0", "root")

        async def arrived() -> bool:
            return there in await ids_on(last)

        await cluster.until(arrived, 60)  # a source that has gone silent is given up after 15 s
        await cluster.workers["h4"].logged(f"image {there} fetched from {other.name}", 10)
        assert f"image {there} from {dying.name}: " in cluster.workers["h4"].output()


async def slow_down(host: Host) -> None:
    await host.run(
        "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "40mbit", "burst", "64kb", "lat", "100ms"
    )


async def test_workers_without_a_path_to_each_other_use_the_manager(cluster: Cluster, docker: Docker) -> None:
    _, second, third = cluster.hosts
    there = await put_on(second, "far:1", 8 * MIB)
    await cluster.adopt(second, "far:1")
    shut = ("INPUT", "-p", "tcp", "--dport", "2378", "-j", "DROP")
    await second.run("iptables", "-I", *shut)
    await docker("service", "create", "--detach", "--name", "far", "--constraint", "node.hostname==h3", "far:1")
    try:
        await cluster.running("far", 1, timeout=60)
    finally:
        await second.run("iptables", "-D", *shut)
    assert there in await ids_on(third)
    assert "its image comes through the manager" in cluster.workers["h3"].output()


@long
async def test_an_engine_that_fails_in_the_middle_leaves_nothing() -> None:
    async with Cluster("images-fail", hosts=3) as cluster:
        docker = docker_of(cluster)
        _, second, third = cluster.hosts
        there = await put_on(second, "big:1", 64 * MIB)
        await cluster.adopt(second, "big:1")
        await slow_down(second)
        await docker("service", "create", "--detach", "--name", "big", "--constraint", "node.hostname==h3", "big:1")

        async def fetching() -> bool:
            return any("fetching image" in t["Status"].get("Message", "") for t in await cluster.tasks("big"))

        await cluster.until(fetching, 60)
        await asyncio.sleep(1)
        await third.restart_engine(signal.SIGKILL)
        await cluster.running("big", 1, timeout=90)
        assert there in await ids_on(third)
        root = await third.docker("info", "--format", "{{.DockerRootDir}}")
        assert list(Path(root, "tmp").iterdir()) == []

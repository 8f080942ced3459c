"""docker compose, Debian's, on a cluster: what people do with a project from `up` to `down`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.installed import debian_program
from tests.e2e.cluster import Cluster
from tests.lab.process import Result

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

PROJECT = """\
name: shop
services:
  web:
    image: web:lab
    depends_on: {db: {condition: service_healthy}}
    ports: ["8080:80"]
    labels: {tier: front}
  worker:
    image: busybox:lab
    command: [sh, -c, 'echo "worker $$HOSTNAME"; trap exit TERM; while :; do sleep 1 & wait; done']
    environment: {COLOUR: blue}
    networks: [default, back]
    links: ["db:store"]
    stop_grace_period: 1s
  db:
    image: web:lab
    networks: {back: {aliases: [data]}, default: {}}
    volumes: ["kept:/kept"]
    healthcheck: {test: [CMD, /web, check], interval: 300ms, retries: 20, start_period: 100ms}
networks:
  back: {}
volumes:
  kept: {}
"""
BUILT = """\
name: built
services:
  app:
    build: {context: ., args: {WORD: hello}}
    image: app:built
    command: [cat, /said]
"""
COLOUR = ("sh", "-c", "echo $COLOUR")
DOCKERFILE = "FROM busybox:lab\nARG WORD\nCOPY file /file\nRUN echo $WORD > /said && cat /file >> /said\n"


class Compose:
    """The program on the manager's host, in a folder with a project's file."""

    def __init__(self, cluster: Cluster, name: str, text: str) -> None:
        self.folder: Path = cluster.manager_host.folder / name
        self.folder.mkdir()
        (self.folder / "compose.yaml").write_text(text)
        self._program = debian_program("docker-compose", "docker-compose")
        self._cluster = cluster

    async def run(self, *arguments: str, check: bool = True, timeout: float = 60, **env: str) -> Result:
        command = (self._program, "--project-directory", str(self.folder), *arguments)
        files = {"COMPOSE_FILE": str(self.folder / "compose.yaml"), "DOCKER_HOST": self._cluster.api}
        return await self._cluster.manager_host.run(*command, check=check, timeout=timeout, env={**files, **env})

    async def __call__(self, *arguments: str, **more: Any) -> str:
        return (await self.run(*arguments, **more)).stdout.strip()

    async def listed(self, *options: str) -> list[dict[str, Any]]:
        lines = (await self("ps", "--format", "json", *options)).splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Compose:
    return Compose(cluster, "shop", PROJECT)


async def test_up_makes_a_project_on_several_hosts(cluster: Cluster, shop: Compose) -> None:
    """Default networks have no driver, and are attachable networks of the cluster."""
    await shop("up", "-d", "--quiet-pull", "--scale", "worker=3", timeout=120)
    listed = await shop.listed()
    assert sorted(each["Service"] for each in listed) == ["db", "web", "worker", "worker", "worker"]
    assert {each["State"] for each in listed} == {"running"}
    assert {each["Health"] for each in listed if each["Service"] == "db"} == {"healthy"}
    containers = await cluster.get('/containers/json?filters={"label":["com.docker.compose.project=shop"]}')
    nodes = {
        each["Labels"]["swarm.x.node"]
        for each in containers
        if each["Labels"]["com.docker.compose.service"] == "worker"
    }
    assert len(nodes) == 3, "they are spread"


async def test_a_second_up_changes_nothing(shop: Compose) -> None:
    before = {each["ID"] for each in await shop.listed()}
    said = await shop.run("up", "-d", "--scale", "worker=3")
    assert "Recreate" not in said.stderr
    assert {each["ID"] for each in await shop.listed()} == before


@pytest.mark.parametrize("name", ["web", "db", "shop-db-1", "store", "data"])
async def test_services_reach_each_other_by_every_name(shop: Compose, name: str) -> None:
    for number in ("1", "2", "3"):
        seen = await shop("exec", "-T", "--index", number, "worker", "wget", "-qO-", f"http://{name}/")
        assert json.loads(seen)["path"] == "/"


async def test_published_ports_are_answered(cluster: Cluster, shop: Compose) -> None:
    where = await shop("port", "web", "80")
    assert where.endswith(":8080")
    (web,) = [each for each in await shop.listed() if each["Service"] == "web"]
    address = (await cluster.get(f"/containers/{web['ID']}/json"))["Node"]["IP"]
    assert json.loads((await cluster.manager_host.run("curl", "-sS", f"http://{address}:8080/")).stdout)["path"] == "/"


async def test_looking_at_a_project(shop: Compose) -> None:
    logs = await shop("logs", "--no-color", "worker")
    assert sum("| worker " in line for line in logs.splitlines()) == 3
    assert "/web" in await shop("top", "web")
    assert [line.split()[0] for line in (await shop("images")).splitlines()[1:]].count("shop-worker-1") == 1
    assert "shop" in await shop("ls")
    assert len((await shop("ps", "-q")).split()) == 5
    assert await shop("exec", "-T", "worker", *COLOUR) == "blue"
    failed = await shop.run("exec", "-T", "worker", "sh", "-c", "exit 7", check=False)
    assert failed.returncode == 7


async def test_files_are_copied_in_and_out(shop: Compose) -> None:
    (shop.folder / "in").write_text("carried")
    await shop("cp", str(shop.folder / "in"), "db:/kept/there")
    await shop("cp", "db:/kept/there", str(shop.folder / "out"))
    assert (shop.folder / "out").read_text() == "carried"


async def test_one_off_containers(shop: Compose) -> None:
    assert await shop("run", "--rm", "-T", "worker", "echo", "once") == "once"
    seen = await shop("run", "--rm", "-T", "--name", "named", "-e", "COLOUR=red", "worker", *COLOUR)
    assert seen == "red"
    failed = await shop.run("run", "--rm", "-T", "worker", "sh", "-c", "exit 3", check=False)
    assert failed.returncode == 3
    assert not [each for each in await shop.listed("-a") if "run" in each["Name"]]


async def test_changing_how_many_there_are(shop: Compose) -> None:
    await shop("scale", "worker=1")
    assert len(await shop.listed("worker")) == 1
    await shop("scale", "worker=2")
    assert len(await shop.listed("worker")) == 2


async def test_stopping_and_going_on(shop: Compose) -> None:
    before = {each["Name"]: each["ID"] for each in await shop.listed()}
    await shop("restart", "-t", "1")
    await shop("stop", "-t", "1", "web")
    assert [each["State"] for each in await shop.listed("-a", "web")] == ["exited"]
    await shop("start", "web")
    await shop("pause", "web")
    await shop("unpause", "web")
    await shop("kill", "web")
    await shop("up", "-d", "--scale", "worker=2")
    assert {each["Name"]: each["ID"] for each in await shop.listed()} == before
    assert await shop("exec", "-T", "db", "cat", "/kept/there") == "carried"


async def test_a_changed_service_is_made_anew(shop: Compose) -> None:
    before = {each["Name"]: each["ID"] for each in await shop.listed()}
    (shop.folder / "compose.yaml").write_text(PROJECT.replace("COLOUR: blue", "COLOUR: green"))
    await shop("up", "-d", "--scale", "worker=2")
    after = {each["Name"]: each["ID"] for each in await shop.listed()}
    assert {name for name in after if after[name] != before[name]} == {"shop-worker-1", "shop-worker-2"}
    assert await shop("exec", "-T", "worker", *COLOUR) == "green"
    seen = await shop("exec", "-T", "worker", "wget", "-qO-", "http://store/")
    assert json.loads(seen)["path"] == "/"


async def test_down_leaves_nothing(cluster: Cluster, shop: Compose) -> None:
    await shop("down", "-v", "-t", "1")
    label = '{"label":["com.docker.compose.project=shop"]}'
    assert await cluster.get(f"/containers/json?all=1&filters={label}") == []
    assert await cluster.get(f"/networks?filters={label}") == []
    assert not (await cluster.get(f"/volumes?filters={label}"))["Volumes"]


@pytest.mark.parametrize("buildkit", ["0", "1"])
async def test_build(cluster: Cluster, buildkit: str) -> None:
    """By the classic builder and by BuildKit; the image is run wherever there is room."""
    project = Compose(cluster, f"built{buildkit}", BUILT)
    (project.folder / "Dockerfile").write_text(DOCKERFILE)
    (project.folder / "file").write_text(f"of {buildkit}\n")
    await project("build", timeout=120, DOCKER_BUILDKIT=buildkit)
    assert await project("run", "--rm", "-T", "app") == f"hello\nof {buildkit}"
    await project("down", "--rmi", "all")
    assert await cluster.get('/images/json?filters={"reference":["app:built"]}') == []

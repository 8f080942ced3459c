"""The real docker CLI against the manager's API, in all that needs no engine: the tables of `tests/docker_cli` are run.

What the rows cannot say (who listens while something else happens, files that change) is below them.
"""

import asyncio
import re
import shlex
import time

import pytest

from tests.api.conftest import DockerCli
from tests.docker_cli.api_table import SCRIPTS
from tests.docker_cli.flags_table import CREATE, CREATE_FLAGS, FILES, NETWORKS, NEWER, UPDATE_FLAGS
from tests.docker_cli.row import Ran, Script, flags_in, play, step
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, ApiCluster


async def run(docker: DockerCli, script: Script) -> None:
    async def one(arguments: list[str], stdin: str) -> Ran:
        return await docker.run(*arguments, stdin=stdin)

    await play(one, script, folder=str(docker.folder))


# A registry is asked through the engine of the manager's own host, which has one for these.
_ASKING_REGISTRIES = frozenset({"service create", "volumes, disk usage, login"})


@pytest.mark.parametrize("title", SCRIPTS)
async def test_script(docker: DockerCli, cluster: ApiCluster, title: str) -> None:
    if title in _ASKING_REGISTRIES:
        await cluster.join_own_host()
    await run(docker, SCRIPTS[title])


@pytest.fixture
async def named(cluster: ApiCluster) -> None:
    """Make what the flags' rows name."""
    client = Client(cluster.api)
    for name in FILES:
        kind = "configs" if name.startswith("c") else "secrets"
        await client.make(f"/{kind}/create", {"Name": name, "Data": "aGVsbG8="})
    for name in NETWORKS:
        await client.make("/networks/create", {"Name": name, "Driver": "overlay"})


async def skip_unless_known(docker: DockerCli, command: str, flags: str) -> None:
    flag = flags.split(maxsplit=1)[0]
    if flag in NEWER and flag not in await docker.ok("service", command, "--help"):
        pytest.skip(f"this docker command line has no {flag}")


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("flags", CREATE_FLAGS)
async def test_service_create(docker: DockerCli, flags: str) -> None:
    await skip_unless_known(docker, "create", flags)
    await run(docker, CREATE_FLAGS[flags])


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("flags", UPDATE_FLAGS)
async def test_service_update(docker: DockerCli, flags: str) -> None:
    await skip_unless_known(docker, "update", flags)
    await run(docker, UPDATE_FLAGS[flags])


@pytest.mark.parametrize(("command", "table"), [("create", CREATE_FLAGS), ("update", UPDATE_FLAGS)])
async def test_the_table_has_every_flag(docker: DockerCli, command: str, table: dict[str, Script]) -> None:
    used = {flag for script in table.values() for flag in flags_in(script)}
    listed = re.findall(r"^ +(?:(-\w), )?(--[\w-]+)", await docker.ok("service", command, "--help"), re.MULTILINE)
    assert len(listed) > 60
    assert [names for names in listed if not used & set(names)] == []


async def test_logs_of_a_service_with_a_lost_node(docker: DockerCli, cluster: ApiCluster) -> None:
    await docker.ok(*shlex.split(f"{CREATE} --replicas 4 busybox"))
    await docker.ok("service", "ps", "web")  # by now they run
    await cluster.engines.engines.pop(WORKER1).stop()
    ran = await docker.run("service", "logs", "web")
    assert ran.code == 0, ran
    assert len(re.findall(r"^web\.[13]\.\w+@w2 +\| hello", ran.out, re.MULTILINE)) == 2
    lost = rf"^web\.[24]\.\w+@w1 +\| warning: the log of this task is not complete: node {WORKER1} is not connected"
    assert len(re.findall(lost, ran.err, re.MULTILINE)) == 2


async def test_events(docker: DockerCli) -> None:
    layout = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"
    # From now on, however late the command begins to listen.
    process = await docker.start("events", "--since", f"{time.time():.3f}", "--format", layout)
    for line in ("secret create s1 -", f"{CREATE} busybox", "node update --availability drain w1", "service rm web"):
        await docker.ok(*shlex.split(line), stdin="x")
    assert process.stdout is not None
    seen: list[str] = []
    async with asyncio.timeout(10):
        while "service remove web" not in seen:
            seen.append((await process.stdout.readline()).decode().strip())
    process.terminate()
    await process.wait()
    assert {"secret create s1", "service create web", "node update w1"} <= set(seen)


async def test_past_events(docker: DockerCli) -> None:
    await docker.ok("secret", "create", "s1", "-", stdin="x")
    await docker.ok(*shlex.split(f"{CREATE} busybox"))
    until = str(time.time() + 0.2)
    lines = await docker.ok(
        "events", "--since", "1h", "--until", until, "--filter", "type=secret", "--format", "{{.Action}}"
    )
    assert lines == "create"


STACK = """
version: "3.8"
services:
  web:
    image: busybox
    deploy:
      replicas: {replicas}
    ports: ["8080:80"]
    networks: [net]
    secrets: [s]
    configs: [c]
  db:
    image: busybox
    deploy:
      mode: global
networks:
  net:
secrets:
  s:
    file: ./secret
configs:
  c:
    file: ./config
"""


async def test_stack(docker: DockerCli) -> None:
    for name, text in (("stack.yaml", STACK.format(replicas=2)), ("secret", "hush"), ("config", "plain")):
        (docker.folder / name).write_text(text)
    deploy = "stack deploy --resolve-image never --detach=true -c stack.yaml app"
    made = (
        r"Creating network app_net\b",
        r"Creating secret app_s",
        r"Creating config app_c",
        r"Creating service app_web",
    )
    await run(
        docker,
        (
            step(deploy, *made),
            step("stack ls", r"^app +2"),
            step(
                "stack services app", r"app_web +replicated +2/2 +busybox:latest +\*:8080->80", r"app_db +global +2/2"
            ),
            step("stack ps app", r"app_web\.1 +busybox", rf"app_db\.{WORKER1}"),
            step("stack services --filter name=app_web -q app", r"^\w{12}$"),
        ),
    )
    (docker.folder / "stack.yaml").write_text(STACK.format(replicas=4))
    await run(
        docker,
        (
            step(deploy, r"Updating service app_web", "!Creating"),
            step("stack services app", r"app_web +replicated +4/4"),
            step(
                "stack rm app",
                *(
                    rf"Removing {thing}"
                    for thing in ("service app_web", "secret app_s", "config app_c", "network app_net")
                ),
            ),
            step("stack ls", r"!app"),
            step("network ls --filter type=custom -q", r"!\w"),
            step("secret ls -q", r"!\w"),
        ),
    )

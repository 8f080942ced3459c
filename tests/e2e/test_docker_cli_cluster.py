"""Docker's own clients on a real cluster of three engines: the docker command, the document's commands.

One cluster serves all tests of this file, in their order: the commands of the document end it and make another.
"""

import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.docker_cli.document import COMPOSE, DOCUMENT, TAG
from tests.docker_cli.engine_table import ENGINE_SCRIPTS
from tests.docker_cli.row import Ran, Run, Step, play, step
from tests.e2e.cluster import Cluster
from tests.lab.process import Result, all_at_once

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

IMAGE = "busybox:lab"
PROGRAM = "echo started; echo careful >&2; i=0; while sleep 0.2; do i=$((i+1)); echo tick $i; done"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster("docker-cli", client=False) as cluster:
        yield cluster


async def docker(cluster: Cluster, *arguments: str, check: bool = True, timeout: float = 60) -> Result:
    """Run the docker CLI on the manager's host against the manager."""
    return await cluster.manager_host.run("docker", "-H", cluster.api, *arguments, check=check, timeout=timeout)


def running(cluster: Cluster) -> Run:
    async def run(arguments: list[str], stdin: str) -> Ran:
        command = ("docker", "-H", cluster.api, *arguments)
        done = await cluster.manager_host.run(*command, input=stdin or None, env={"DOCKER_BUILDKIT": "0"}, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.mark.parametrize("title", ENGINE_SCRIPTS)
async def test_script(cluster: Cluster, title: str) -> None:
    await play(running(cluster), ENGINE_SCRIPTS[title], folder=str(cluster.manager_host.folder))


async def start(cluster: Cluster, name: str, replicas: int = 3) -> None:
    what = ("--no-resolve-image", IMAGE, "sh", "-c", PROGRAM)
    options = ("--detach", "--name", name, "--replicas", str(replicas), "--stop-grace-period", "0s")
    await docker(cluster, "service", "create", *options, *what)
    await cluster.running(name, replicas)


async def test_scaling_restarts_nothing(cluster: Cluster) -> None:
    await start(cluster, "web")
    before = {task["ID"] for task in await cluster.tasks("web")}
    await docker(cluster, "service", "scale", "--detach", "web=4")
    assert before < {task["ID"] for task in await cluster.running("web", 4)}


async def test_logs_of_a_service(cluster: Cluster) -> None:
    """All tasks' lines, each under its own task and node."""
    result = await docker(cluster, "service", "logs", "--no-trunc", "web")
    names = {node["ID"]: host for host, node in (await cluster.nodes()).items()}
    for task in await cluster.tasks("web"):
        prefix = re.escape(f"web.{task['Slot']}.{task['ID']}@{names[task['NodeID']]}")
        assert re.search(rf"^{prefix} +\| started$", result.stdout, re.MULTILINE), result
        assert re.search(rf"^{prefix} +\| careful$", result.stderr, re.MULTILINE), result
    tail = await docker(cluster, "service", "logs", "--raw", "--tail", "1", "--timestamps", "web")
    stamped = re.findall(r"^\d{4}-\d\d-\d\dT\S+Z \w+", tail.stdout + tail.stderr, re.MULTILINE)
    assert len(stamped) == 4, tail


async def test_a_followed_log_takes_in_new_tasks_and_ends_with_service(cluster: Cluster) -> None:
    await start(cluster, "more", replicas=1)
    command = ("docker", "-H", cluster.api, "service", "logs", "-f", "--raw", "more")
    follower = await cluster.manager_host.spawn(*command, name="follower")
    await follower.logged("tick 1\n")
    await docker(cluster, "service", "scale", "--detach", "more=3")
    await cluster.running("more", 3)
    said = lambda words: len(re.findall(rf"^{words}$", follower.output(), re.MULTILINE))  # noqa: E731

    async def all_heard() -> bool:
        return said("started") == said("tick 1") == 3

    await cluster.until(all_heard, 20, follower.output)
    await docker(cluster, "service", "rm", "more")
    assert await follower.wait(30) == 0


async def test_attach_over_a_websocket(cluster: Cluster) -> None:
    """What browsers' terminals use instead of a connection that is taken over."""
    run = running(cluster)
    await play(run, (step(f"run -dit --name socket {IMAGE} sh"),))
    path = "/v1.45/containers/socket/attach/ws?stream=1&stdin=1&stdout=1"
    connector = aiohttp.UnixConnector(path=cluster.api.removeprefix("unix://"))
    async with aiohttp.ClientSession(connector=connector) as http, http.ws_connect(f"http://docker{path}") as socket:
        await socket.send_bytes(b"echo $((6*7))\n")
        heard = b""
        while b"42\r\n" not in heard:
            message = await socket.receive(timeout=10)
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), (message, heard)
            heard += message.data if isinstance(message.data, bytes) else message.data.encode()
    await play(run, (step("rm -f socket"),))


async def test_a_node_that_is_gone_costs_its_own_tasks_lines_alone(cluster: Cluster) -> None:
    """Docker answers with an error for all of them (moby#37336)."""
    lost = cluster.hosts[2]
    gone = {t["ID"] for t in await cluster.tasks("web") if t["NodeID"] == (await cluster.nodes())[lost.name]["ID"]}
    assert gone
    await lost.cut()
    result = await docker(cluster, "service", "logs", "--no-trunc", "web")
    assert len(re.findall(r"\| started$", result.stdout, re.MULTILINE)) >= 4 - len(gone), result
    noted = re.findall(rf"^web\.\d+\.(\w+)@{lost.name} +\| warning: the log of this task", result.stderr, re.MULTILINE)
    assert set(noted) == gone, result
    await lost.mend()
    await cluster.node_is(lost, "ready")
    await docker(cluster, "service", "rm", "web")


# What the document shows of files, word for word; its compose file has a tab before a comment.
DOCKERFILE = """\
# Use an official Python runtime as a parent image
FROM python:2.7-slim

# Set the working directory to /app
WORKDIR /app

# Copy the current directory contents into the container at /app
ADD . /app

# Install any needed packages specified in requirements.txt
RUN pip install --trusted-host pypi.python.org -r requirements.txt

# Publish port 80 to make it available to the world outside this container
EXPOSE 80

# Define environment variable
ENV NAME World

# Run app.py when the container launches
CMD ["python", "app.py"]
"""
# There is no registry here: what stands for Python's image answers HTTP, and has a `pip` that needs its file.
PARENT = r"""FROM web:lab
RUN printf '#!/bin/sh\ntest -e requirements.txt && echo installed' > /bin/pip && chmod +x /bin/pip
RUN printf '#!/bin/sh\ntest -e app.py && exec /web' > /bin/python && chmod +x /bin/python
"""


async def test_every_command_of_the_document(cluster: Cluster) -> None:
    run, manager_host = running(cluster), cluster.manager_host
    app = manager_host.folder / "app"
    app.mkdir()
    for name, text in (("Dockerfile", DOCKERFILE), ("app.py", ""), ("requirements.txt", "Flask\n")):
        (app / name).write_text(text)
    (manager_host.folder / "plain.yaml").write_text(COMPOSE.replace("\t", "  "))
    names = {
        "folder": str(app),
        "compose": f"{manager_host.folder}/plain.yaml",
        "ip": manager_host.ip,
        "token": cluster.token,
    }
    await play(run, (step("build -q -t python:2.7-slim -", stdin=PARENT),))
    for line, row in DOCUMENT:
        names |= await BEFORE.get(line, nothing)(cluster, row)
        if line not in INSTEAD:
            names = await play(run, (row,), **names)
        await INSTEAD.get(line, AFTER.get(line, nothing))(cluster, row)
    assert not (BEFORE.keys() | INSTEAD.keys() | AFTER.keys()) - {line for line, _ in DOCUMENT}


Look = Callable[[Cluster, Step], Awaitable[dict[str, str]]]


async def nothing(_cluster: Cluster, _row: Step) -> dict[str, str]:
    return {}


async def in_the_foreground(cluster: Cluster, row: Step) -> dict[str, str]:
    """It stays until Ctrl-C, which the docker command passes on; the port answers meanwhile."""
    process = await cluster.manager_host.spawn("docker", "-H", cluster.api, *shlex.split(row.line), name="foreground")

    async def answers() -> bool:
        asked = [host.run("wget", "-qO-", f"http://{host.ip}:4000/", check=False) for host in cluster.hosts]
        return any([(await each).returncode == 0 for each in asked])

    await cluster.until(answers, 20, process.output)
    await process.stop()
    assert (await docker(cluster, "ps", "-q", "--filter", f"ancestor={TAG}")).stdout == ""
    assert (await docker(cluster, "ps", "-aq", "--filter", f"ancestor={TAG}")).stdout != ""
    return {}


async def a_service(cluster: Cluster, _row: Step) -> dict[str, str]:
    made = await docker(cluster, "service", "create", "--detach", "--name", "before", "--replicas", "2", TAG)
    await cluster.running("before", 2)
    return {"service": made.stdout.strip()}


async def stopped(cluster: Cluster, _row: Step) -> dict[str, str]:
    shown = await docker(cluster, "inspect", "-f", "{{.State.Status}}", "detached")
    assert shown.stdout == "exited\n"
    return {}


async def another_cluster(cluster: Cluster, _row: Step) -> dict[str, str]:
    """The command that the refusal names ends the cluster; those that others named make another of the same hosts."""
    await cluster.swarm("leave", "--force")
    assert await cluster.manager.wait() == 0
    await all_at_once(worker.stop() for worker in cluster.workers.values())
    await all_at_once(host.run("swarm-worker", "leave") for host in cluster.hosts)
    assert not any([await cluster.containers(host) for host in cluster.hosts])
    await cluster.begin()
    return {}


async def deployed(cluster: Cluster, _row: Step) -> dict[str, str]:
    """The file as it stands, with its tab, is read by our command alone; it changes nothing then."""
    tasks = await cluster.running("shop_web", 5)
    answer = await cluster.manager_host.run("wget", "-qO-", f"http://{cluster.hosts[1].ip}:80/")
    assert '"path": "/"' in answer.stdout
    as_it_stands: Path = cluster.manager_host.folder / "docker-compose.yaml"
    as_it_stands.write_text(COMPOSE)
    refused = await docker(cluster, "stack", "deploy", "-c", str(as_it_stands), "shop", check=False)
    assert "found character that cannot start any token" in refused.stderr
    await cluster.swarm("stack", "deploy", "--detach", "-c", as_it_stands, "shop")
    assert {task["ID"] for task in await cluster.running("shop_web", 5)} == {task["ID"] for task in tasks}
    return {}


async def removed(cluster: Cluster, _row: Step) -> dict[str, str]:
    async def gone() -> bool:
        return not any([await cluster.containers(host) for host in cluster.hosts])

    await cluster.until(gone, 20)
    return {}


BEFORE: dict[str, Look] = {"docker service ls": a_service}
INSTEAD: dict[str, Look] = {"docker run -p 4000:80 ...": in_the_foreground}
AFTER: dict[str, Look] = {
    "docker container stop [CONTAINER ID]": stopped,
    "docker swarm leave --force # from a manager node": another_cluster,
    "docker stack deploy -c [DOCKER-COMPOSE FILE] [SERVICE]": deployed,
    "docker stack rm [SERVICE]": removed,
}

"""Containers of the whole cluster through the real docker CLI: three engines, one manager's socket."""

import asyncio
import contextlib
import json
import re
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.lab.process import Process, Result

IMAGE = "busybox:lab"
NODE = '{{.Label "swarm.x.node"}}'


class Docker:
    """The docker CLI on the manager's host, against the manager."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def __call__(self, *arguments: Any, stdin: str | None = None, timeout: float = 60) -> str:
        return (await self.run(*arguments, stdin=stdin, timeout=timeout)).stdout.strip()

    async def run(self, *arguments: Any, stdin: str | None = None, timeout: float = 60, check: bool = True) -> Result:
        command = ("docker", "-H", self.cluster.api, *map(str, arguments))
        return await self.cluster.manager_host.run(*command, input=stdin, timeout=timeout, check=check)

    async def fails(self, *arguments: Any, code: int = 1, stdin: str | None = None) -> str:
        result = await self.run(*arguments, stdin=stdin, check=False)
        assert result.returncode == code, result
        return result.stderr

    async def spawn(self, *arguments: Any) -> Process:
        return await self.cluster.manager_host.spawn("docker", "-H", self.cluster.api, *map(str, arguments), name="cli")

    async def terminal(self, *arguments: Any, typed: str = "") -> tuple[int, str]:
        """Run a command in a terminal of its own, 33 lines of 101 columns, as a person does."""
        inside = shlex.join(["docker", "-H", self.cluster.api, *map(str, arguments)])
        command = shlex.join(["script", "-qec", f"stty rows 33 cols 101; {inside}", "/dev/null"])
        typing = f"(sleep 2; printf {shlex.quote(typed)}; sleep 2)"
        result = await self.cluster.manager_host.run("sh", "-c", f"{typing} | {command}", check=False)
        return result.returncode, result.stdout

    async def node(self, container: str) -> str:
        return await self("inspect", "-f", "{{.Node.Name}}", container)


@contextlib.asynccontextmanager
async def cluster_of(name: str) -> AsyncIterator[tuple[Cluster, Docker]]:
    async with Cluster(name, client=False) as cluster:
        yield cluster, Docker(cluster)


@pytest.mark.timeout(400)
async def test_the_docker_cli_on_containers_of_a_cluster() -> None:
    async with cluster_of("containers") as (cluster, docker):
        await running(cluster, docker)
        await looking(docker)
        await programs(docker)
        await own_commands(cluster, docker)
        await placing(cluster, docker)
        await volumes(cluster, docker)
        await tasks(cluster, docker)
        await strangers(cluster, docker)
        await events(cluster, docker)
        await lost_node(cluster, docker)


async def running(cluster: Cluster, docker: Docker) -> None:
    """Three of one port are on three nodes, a fourth nowhere. What `run` does else is in `engine_table`."""
    for number in range(3):
        await docker("run", "-d", "--name", f"web{number}", "-p", "8080:80", "web:lab")
    nodes = {await docker.node(f"web{number}") for number in range(3)}
    assert nodes == {host.name for host in cluster.hosts}, "each on a node where the port is free"
    failed = await docker.fails("run", "-d", "-p", "8080:80", "web:lab", code=125)
    assert "host-mode port already in use on 3 nodes" in failed
    failed = await docker.fails("run", "-d", "--name", "web1", "web:lab", code=125)
    assert re.search(r'The container name "/web1" is already in use by container "[0-9a-f]{64}"', failed)
    assert "80/tcp -> 0.0.0.0:8080" in (await docker("port", "web1")).splitlines()
    answer = await cluster.manager_host.run("wget", "-qO-", f"http://{cluster.hosts[2].ip}:8080/")
    assert json.loads(answer.stdout)["path"] == "/"


async def looking(docker: Docker) -> None:
    listed = await docker("ps", "--format", "{{.Names}} {{.Ports}} " + NODE)
    assert len(listed.splitlines()) == 3
    assert len({line.split()[-1] for line in listed.splitlines()}) == 3
    assert await docker("ps", "-q", "--filter", "name=web1") == (await docker("inspect", "-f", "{{.Id}}", "web1"))[:12]
    node = await docker.node("web1")
    assert await docker("ps", "--format", "{{.Names}}", "--filter", f"label=swarm.x.node={node}") == "web1"


async def programs(docker: Docker) -> None:
    """With a terminal of their own, and its size."""
    await docker("run", "-d", "--name", "box", IMAGE, "sh", "-c", "while read -r line; do :; done < /dev/zero")
    code, shown = await docker.terminal("exec", "-it", "box", "sh", typed="tty; stty size; exit 5\\n")
    assert code == 5
    assert re.search(r"/dev/pts/\d+\r\n33 101\r\n", shown), shown
    code, shown = await docker.terminal("run", "-it", "--rm", IMAGE, "sh", typed="tty; exit 6\\n")
    assert code == 6
    assert "/dev/pts/0" in shown


async def own_commands(cluster: Cluster, docker: Docker) -> None:
    """swarm-manager's own, on the same API."""
    swarm = cluster.swarm
    node = await docker.node("web1")
    layout = ("--format", "{{.Names}} {{.Node}} {{.State}}", "--filter", "name=web1")
    assert (await swarm("container", "ls", *layout)).stdout == f"web1 {node} running\n"
    assert (await swarm("exec", "box", "echo", "-n", "hello")).stdout == "hello"
    assert (await swarm("exec", "-i", "box", "wc", "-c", stdin="z" * 300_000)).stdout.strip() == "300000"
    failed = await swarm("exec", "box", "sh", "-c", "echo wrong >&2; exit 4", check=False)
    assert (failed.returncode, failed.stdout, failed.stderr) == (4, "", "wrong\n")
    inside = shlex.join(["swarm-manager", "-H", cluster.api, "exec", "-it", "box", "sh"])
    command = shlex.join(["script", "-qec", f"stty rows 33 cols 101; {inside}", "/dev/null"])
    typed = r"(sleep 4; printf 'stty size; exit 5\n'; sleep 2)"
    result = await cluster.manager_host.run("sh", "-c", f"{typed} | {command}", check=False)
    assert (result.returncode, "33 101\r\n" in result.stdout) == (5, True), result
    assert "/web" in (await swarm("container", "top", "web1")).stdout
    assert "web1" in (await swarm("container", "stats", "--no-stream", "web1")).stdout
    assert json.loads((await swarm("container", "inspect", "web1")).stdout)[0]["Node"]["Name"] == node
    for action in ("stop", "start", "restart", "kill"):
        assert (await swarm("container", action, "web1")).stdout == "web1\n"
    await swarm("container", "start", "web1")
    await docker("run", "--name", "said", IMAGE, "sh", "-c", "echo out; echo err >&2")
    shown = await swarm("container", "logs", "said")
    assert (shown.stdout, shown.stderr) == ("out\n", "err\n")
    assert (await swarm("container", "rm", "said")).stdout == "said\n"
    await own_changes(swarm, docker)
    await own_copies(cluster)
    missing = await swarm("container", "rm", "said", check=False)
    assert (missing.returncode, "No such container: said" in missing.stderr) == (1, True)


async def own_copies(cluster: Cluster) -> None:
    """There and back; what goes where in which case was compared with docker's `cp`, and is a unit test."""
    swarm, folder = cluster.swarm, cluster.manager_host.folder
    (folder / "site" / "deep").mkdir(parents=True)
    (folder / "site" / "page").write_bytes(b"p" * 3_000_000)
    (folder / "site" / "deep" / "link").symlink_to("../page")
    await swarm("container", "cp", folder / "site/.", "box:/srv")
    seen = await swarm("exec", "box", "sh", "-c", "wc -c < /srv/deep/link; stat -c %u:%g:%a /srv/page")
    assert seen.stdout.split() == ["3000000", "0:0:644"]
    await swarm("container", "cp", "box:/srv", folder / "back")
    assert (folder / "back" / "deep" / "link").read_bytes() == b"p" * 3_000_000
    await swarm("container", "cp", "-L", "box:/srv/deep/link", folder / "file")
    assert (folder / "file").stat().st_size == 3_000_000
    api = cluster.api
    piped = f"swarm-manager -H {api} container cp box:/srv - | swarm-manager -H {api} container cp - box:/srv/deep"
    await cluster.manager_host.run("sh", "-c", piped)
    assert (await swarm("exec", "box", "cat", "/srv/deep/srv/page")).stdout == "p" * 3_000_000
    failed = await swarm("container", "cp", "box:/none", folder, check=False)
    assert (failed.returncode, "Could not find the file /none in container" in failed.stderr) == (1, True)


async def own_changes(swarm: Callable[..., Awaitable[Result]], docker: Docker) -> None:
    assert "80/tcp -> 0.0.0.0:8080" in (await swarm("container", "port", "web1")).stdout.splitlines()
    await docker("create", "-i", "--name", "line", IMAGE, "sh", "-c", "touch /made; head -n 1; exit 3")
    await swarm("container", "start", "line")
    for action in ("pause", "unpause"):
        assert (await swarm("container", action, "line")).stdout == "line\n"
    await swarm("container", "rename", "line", "row")
    attached = await swarm("container", "attach", "row", stdin="hello\n", check=False)
    assert (attached.returncode, attached.stdout) == (3, "hello\n")
    assert (await swarm("container", "wait", "row")).stdout == "3\n"
    assert "A /made" in (await swarm("container", "diff", "row")).stdout.splitlines()
    refused = await swarm("container", "attach", "row", check=False)
    assert "you cannot attach to a stopped container" in refused.stderr
    assert "Total reclaimed space: 0B" in (await swarm("container", "prune", "--force")).stdout
    assert "No such container: row" in (await swarm("container", "port", "row", check=False)).stderr


async def placing(cluster: Cluster, docker: Docker) -> None:
    second = cluster.hosts[1].name
    await docker("node", "update", "--label-add", "disk=ssd", second)
    constraint = "node.labels.disk==ssd"
    for number, options in enumerate(
        [("--label", f"swarm.x.constraint={constraint}"), ("-e", f"constraint:{constraint}")]
    ):
        await docker("run", "-d", "--name", f"fast{number}", *options, IMAGE, "sleep", "1000")
        assert await docker.node(f"fast{number}") == second
    assert "constraint" not in await docker("inspect", "-f", "{{.Config.Env}}", "fast1")
    failed = await docker.fails("run", "--label", "swarm.x.constraint=node.labels.disk==tape", IMAGE, "true", code=125)
    assert "scheduling constraints not satisfied on 3 nodes" in failed
    failed = await docker.fails("run", "--memory-reservation", "900g", IMAGE, "true", code=125)
    assert "insufficient resources on 3 nodes" in failed
    await docker("run", "--name", "said", IMAGE, "true")
    assert (await docker("commit", "said", "kept:1")).startswith("sha256:")
    await docker("rm", "said")
    # The image that was committed is on one node, and what is made of it goes there.
    [node] = [host.name for host in cluster.hosts if await host.docker("images", "-q", "kept:1")]
    for _ in range(3):
        assert await docker("run", "--rm", "--network", "none", "kept:1", "echo", "here") == "here"
    await docker("create", "--name", "third", "kept:1")
    assert await docker.node("third") == node
    await docker("run", "-d", "--name", "beside", "--network", "container:fast0", IMAGE, "sleep", "1000")
    assert await docker.node("beside") == second
    assert "network nowhere not found" in await docker.fails("run", "--network", "nowhere", IMAGE, code=125)
    assert "No such image" in await docker.fails("create", "--pull", "never", "absent:1")
    await docker("rm", "-f", "third", "beside", "fast0", "fast1")


async def volumes(cluster: Cluster, docker: Docker) -> None:
    third = cluster.hosts[2].name
    assert await docker("volume", "create", f"{third}/data") == "data"
    await cluster.hosts[0].docker("volume", "create", "data")
    assert "several nodes have a volume data" in await docker.fails("volume", "rm", "data")
    assert await docker("volume", "rm", f"{third}/data", f"{cluster.hosts[0].name}/data")
    assert await docker("volume", "ls", "-q") == ""


async def tasks(cluster: Cluster, docker: Docker) -> None:
    """Containers of services are reached like any other."""
    await docker(
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--name",
        "work",
        "--replicas",
        "3",
        IMAGE,
        "sleep",
        "1000",
    )
    for task in await cluster.running("work", 3):
        container = task["Status"]["ContainerStatus"]["ContainerID"]
        for name in (container, container[:12], f"work.{task['Slot']}.{task['ID']}"):
            assert await docker("exec", name, "echo", "in a task") == "in a task"
    assert len((await docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=work")).splitlines()) == 3
    await docker("service", "rm", "work")


async def strangers(cluster: Cluster, docker: Docker) -> None:
    """What was started on the engines themselves: two of one name are both listed, and told apart by their ids."""
    for host in cluster.hosts[:2]:
        await host.docker("run", "-d", "--name", "twin", IMAGE, "sleep", "1000")
    ids = (await docker("ps", "-q", "--filter", "name=twin")).split()
    assert len(ids) == 2
    said = await docker.fails("stop", "twin")
    assert all(each in said for each in ids)
    for each in ids:
        await docker("rm", "-f", each)
    assert await docker("ps", "-q", "--filter", "name=twin") == ""


async def events(cluster: Cluster, docker: Docker) -> None:
    following = await docker.spawn(
        "events", "--format", '{{.Type}} {{.Action}} {{index .Actor.Attributes "node.name"}}'
    )
    await asyncio.sleep(1)
    await docker("run", "-d", "--name", "seen", IMAGE, "true")
    node = await docker.node("seen")
    await docker("service", "create", "--detach", "--no-resolve-image", "--name", "work", "--replicas", "0", IMAGE)
    await docker("rm", "-f", "seen")
    await docker("service", "rm", "work")
    for line in (
        f"container start {node}",
        f"container die {node}",
        f"container destroy {node}",
        "service create",
        "service remove",
    ):
        await following.logged(line, 10)
    await following.stop()
    past = await docker(
        "events", "--since", "10m", "--until", "0s", "--filter", "type=container", "--filter", "event=destroy"
    )
    times = [line.split()[0] for line in past.splitlines()]
    assert len(times) > 5
    assert times == sorted(times)


async def lost_node(cluster: Cluster, docker: Docker) -> None:
    """A host that is cut off breaks nothing but its own part."""
    lost, name = cluster.hosts[2], ""
    for number in range(3):
        if await docker.node(f"web{number}") == lost.name:
            name = f"web{number}"
    assert name
    container = await docker("inspect", "-f", "{{.Id}}", name)
    following = await docker.spawn("logs", "-f", name)
    await asyncio.sleep(1)
    await lost.cut()
    shown = await docker("ps", "--format", "{{.Names}}", "--filter", "name=web", timeout=15)
    assert sorted(shown.splitlines()) == sorted({"web0", "web1", "web2"} - {name})
    await following.wait(20)
    assert "was lost" in following.output() or following.returncode != 0, following.output()
    await cluster.node_is(lost, "down")
    for reference in (name, container):  # made here, so that its node is known by either
        assert f"node {lost.name} is not connected" in await docker.fails("stop", reference)
    assert await docker("run", "--rm", IMAGE, "echo", "still") == "still"


MEGABYTES = 1024
# Eight megabytes in long lines: an engine takes long to read a log of short ones.
PROGRAM = "yes $(head -c 4000 /dev/zero | tr '\\0' x) | head -c 8000000; sleep 1000"


def memory(process: Process) -> int:
    """Return the resident memory of a process in KiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def cpu_seconds(process: Process) -> float:
    """Return the CPU time that a process has had."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Peak:
    """While its context lasts: the most memory that a process has, in KiB."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.kib = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _look(self) -> None:
        while True:
            self.kib = max(self.kib, memory(self._process))
            await asyncio.sleep(0.05)


async def shell(cluster: Cluster, command: str) -> str:
    return (await cluster.manager_host.run("sh", "-c", command, timeout=200)).stdout.strip()


async def stalled_reader(cluster: Cluster, container: str) -> asyncio.StreamWriter:
    """Ask for a large file, and read nothing of it."""
    _, writer = await asyncio.open_unix_connection(cluster.api.removeprefix("unix://"), limit=1024)
    path = f"/v1.45/containers/{container}/archive?path=/tmp/bulk"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
    await writer.drain()
    return writer


@long
@pytest.mark.timeout(400)
async def test_a_gigabyte_at_flat_memory_beside_a_stalled_reader() -> None:
    """A reader that reads nothing, and 1 GB each way beside it: the manager keeps its size, and nobody waits."""
    async with cluster_of("bulk") as (cluster, docker):
        # On another host than the manager, so that the bytes cross the cluster.
        there = ("--label", f"swarm.x.constraint=node.hostname=={cluster.hosts[1].name}")
        for name in ("box", "other"):
            await docker("run", "-d", "--name", name, *there, IMAGE, "sleep", "1000")
            await docker("exec", name, "truncate", "-s", MEGABYTES << 20, "/tmp/bulk")
        # Of another container: an engine holds the lock of one that it is copying from.
        stalled = await stalled_reader(cluster, "other")
        assert await docker("exec", "box", "echo", "ready") == "ready"
        before, peak = memory(cluster.manager), Peak(cluster.manager)
        started = time.monotonic()
        async with peak:
            piped = f"docker -H {cluster.api} exec box cat /tmp/bulk | wc -c"
            assert await shell(cluster, piped) == str(MEGABYTES << 20)
            piped = f"docker -H {cluster.api} cp box:/tmp/bulk - | wc -c"
            assert int(await shell(cluster, piped)) > MEGABYTES << 20
            piped = f"head -c {MEGABYTES << 20} /dev/zero | docker -H {cluster.api} exec -i box wc -c"
            assert await shell(cluster, piped) == str(MEGABYTES << 20)
        seconds = time.monotonic() - started
        stalled.close()
        print(f"\n3 x {MEGABYTES} MiB in {seconds:.1f} s; manager {before} KiB before, at most {peak.kib}")
        assert peak.kib - before < 32 * 1024


@long
@pytest.mark.timeout(170)
async def test_readers_that_stall_delay_nobody() -> None:
    """Fifty clients read nothing of what they asked a node for; others are answered by it as before."""
    async with cluster_of("stalled") as (cluster, docker):
        there = ("--label", f"swarm.x.constraint=node.hostname=={cluster.hosts[1].name}")
        for name in ("box", "noisy"):
            await docker("run", "-d", "--name", name, *there, IMAGE, "sh", "-c", PROGRAM)
        before = await answer_times(cluster, "box")
        stalled = [await stalled_logs(cluster, "noisy") for _ in range(50)]
        await asyncio.sleep(5)  # they stall when all buffers on the way are full, which nothing tells
        watched = [cluster.manager, cluster.workers[cluster.hosts[1].name]]
        began = [cpu_seconds(each) for each in watched]
        await asyncio.sleep(5)
        busy = [round(cpu_seconds(each) - then, 2) for each, then in zip(watched, began, strict=True)]
        beside = await answer_times(cluster, "box")
        for writer in stalled:
            writer.close()
        print(f"\nCPU seconds of manager, worker in 5 s beside them: {busy}")
        print(f"inspect: median {before * 1000:.0f} ms alone, {beside * 1000:.0f} ms beside 50 stalled readers")
        assert max(busy) < 2.5, "something is busy with clients that do nothing"
        assert beside < 2 * before + 0.2


async def answer_times(cluster: Cluster, container: str) -> float:
    """Return how long an inspect takes, the median of forty, in seconds."""
    times = []
    for _ in range(40):
        started = time.monotonic()
        await cluster.get(f"/containers/{container}/json")
        times.append(time.monotonic() - started)
    return sorted(times)[len(times) // 2]


async def stalled_logs(cluster: Cluster, container: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_unix_connection(cluster.api.removeprefix("unix://"), limit=1024)
    path = f"/containers/{container}/logs?stdout=1&follow=1"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
    await writer.drain()
    return writer

"""Prometheus reads a cluster as deploy/monitoring says: over TLS, as a viewer. Boards have data."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.clients.installed import debian
from tests.clients.prometheus import Prometheus, watching
from tests.e2e.cluster import Cluster
from tests.lab.images import Image, docker_archive, tar_of
from tests.unit.deploy.test_monitoring import BOARDS, MONITORING, queries

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster("monitoring")
    cluster.listen = ("tcp://0.0.0.0:2376",)
    async with cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(cluster: Cluster) -> AsyncIterator[Prometheus]:
    """A service that was updated and is autoscaled, with limits, and a job: what boards ask for is there."""
    create = ("service", "create", "-q", "--detach", "--no-resolve-image", "--name")
    limits = ("--reserve-memory", "16m", "--limit-memory", "64m", "--limit-cpu", "0.5")
    scaled = ("--label", "swarm.x.autoscale=min=2,max=4,memory=300%")
    await cluster.swarm(*create, "web", "--replicas", "2", "--update-parallelism", "0", *limits, *scaled, "web:lab")
    await cluster.running("web", 2)
    await cluster.swarm("service", "update", "-q", "--no-resolve-image", "--env-add", "A=b", "web")
    schedule = ("--mode", "replicated-job", "--label", "swarm.x.schedule=* * * * *")
    await cluster.swarm(*create, "nightly", *schedule, "--entrypoint", "true", "web:lab")
    async with watching(cluster) as made:
        yield made


async def test_all_nodes_are_there_and_measured(prometheus: Prometheus) -> None:
    async def measured() -> bool:
        return len(await prometheus.query("swarm_node_cpu_usage_ratio")) == len(prometheus.cluster.hosts)

    await prometheus.cluster.until(measured, 40, pause=0.5)
    states = await prometheus.query('swarm_node_state{state="ready"}')
    assert {each["metric"]["node"] for each in states} == {host.name for host in prometheus.cluster.hosts}
    for connected in ("swarm_node_heartbeat_age_seconds < 10", "swarm_node_connects_total >= 1"):
        assert len(await prometheus.query(connected)) == len(prometheus.cluster.hosts)
    assert await prometheus.query("swarm_assignment_delay_seconds_count > 0")


async def test_containers_are_on_their_nodes_pages(prometheus: Prometheus) -> None:
    query = 'container_memory_working_set_bytes{container_label_com_docker_swarm_service_name="web"} > 0'

    async def both() -> bool:
        return len(await prometheus.query(query)) == 2

    await prometheus.cluster.until(both, 30, pause=0.5)
    found = await prometheus.query(query)
    assert {each["metric"]["job"] for each in found} == {"swarm-nodes"}
    tasks = {task["NodeID"] for task in await prometheus.cluster.tasks("web")}
    assert {each["metric"]["container_label_com_docker_swarm_node_id"] for each in found} == tasks


async def test_the_command_line_shows_what_is_used(prometheus: Prometheus) -> None:
    shown = (await prometheus.cluster.swarm("service", "stats", "--no-stream", "web")).stdout.split("\n")
    assert shown[0].split() == ["NAME", "TASKS", "CPU", "MEM", "LIMIT", "FAILURES/1H"]
    name, tasks, cpu, memory, *_ = shown[1].split()
    assert (name, tasks) == ("web", "2/2")
    assert float(cpu) >= 0
    assert memory.endswith("iB")
    assert shown[1].split()[4] == "128MiB"
    nodes = (await prometheus.cluster.swarm("node", "stats", "--no-stream")).stdout.splitlines()
    assert [line.split()[0] for line in nodes[1:]] == [host.name for host in prometheus.cluster.hosts]
    assert not any("--" in line for line in nodes)


async def test_what_is_used_is_what_docker_says(prometheus: Prometheus) -> None:
    """The memory of a service is what `docker stats` says of its containers together, once it changes no more."""
    cluster = prometheus.cluster
    names = {node["ID"]: name for name, node in (await cluster.nodes()).items()}
    hosts = {host.name: host for host in cluster.hosts}
    tasks = await cluster.running("web", 2)

    async def same() -> bool:
        said = 0.0
        for task in tasks:
            stats = ("stats", "--no-stream", "--format", "{{.MemUsage}}")
            container = task["Status"]["ContainerStatus"]["ContainerID"]
            said += in_bytes((await hosts[names[task["NodeID"]]].docker(*stats, container)).split()[0])
        shown = await cluster.swarm("service", "stats", "--no-stream", "--format", "{{.Memory}}", "web")
        return in_bytes(shown.stdout.strip()) == pytest.approx(said, rel=0.2)

    await cluster.until(same, 60, pause=1)


def in_bytes(text: str) -> float:
    """Read a size as docker prints it: `1.5MiB`."""
    found = re.fullmatch(r"([0-9.]+)([KMG]i)?B", text)
    assert found is not None, text
    return float(found[1]) * 1024 ** ("", "Ki", "Mi", "Gi").index(found[2] or "")


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
async def test_a_boards_panels_have_data(prometheus: Prometheus, board: Path) -> None:
    host = prometheus.cluster.hosts[0].name
    for text in queries(board):
        service = "nightly" if text.startswith(("swarm_job_", "time() - swarm_job_")) else "web"
        asked = text.replace("$service", service).replace("$node", host).replace("[5m]", "[1m]")
        assert await prometheus.ask(f"query?query={quote(asked)}") is not None, asked
        await prometheus.cluster.until(partial(prometheus.query, asked), 90, partial(str, asked), pause=0.5)


async def test_it_comes_up_as_a_stack(prometheus: Prometheus) -> None:
    """docs/monitoring.md as written; the image is made of Debian's program, as the lab has no registry."""
    manager_host, folder = prometheus.cluster.manager_host, prometheus.cluster.manager_host.folder / "monitoring"
    shutil.copytree(MONITORING, folder)
    shutil.copytree(manager_host.folder / "viewer", folder / "viewer")
    text = (folder / "prometheus.yml").read_text()
    (folder / "prometheus.yml").write_text(text.replace("MANAGER", manager_host.ip).replace("15s", "2s"))
    archive = folder / "image.tar"
    archive.write_bytes(docker_archive([prometheus_image()]))
    await manager_host.docker("load", "-i", archive)
    await prometheus.cluster.swarm("node", "update", "--label-add", "monitoring=yes", manager_host.name)
    command = ("swarm-manager", "-H", prometheus.cluster.api, "stack", "deploy", "--resolve-image", "never")
    deploy = ("env", "PROMETHEUS_IMAGE=prometheus:lab", *command, "-c", str(folder / "compose.yaml"), "monitoring")
    await manager_host.run(*deploy)
    (task,) = await prometheus.cluster.running("monitoring_prometheus", 1)

    async def reads(since: float = 0.0) -> bool:
        """Whether it has read the manager's page, after an instant."""
        query = quote('timestamp(up{job="swarm"} == 1)')
        url = f"http://{prometheus.cluster.hosts[1].ip}:9090/api/v1/query?query={query}"
        asked = await manager_host.run("curl", "-sSf", url, check=False)
        found = json.loads(asked.stdout)["data"]["result"] if not asked.returncode else []
        return any(float(each["value"][1]) > since for each in found)

    await prometheus.cluster.until(reads, 60, pause=0.5)
    # Renewed as the page says. The old certificate is worth nothing then, and the same task reads on with the new one.
    before = (await prometheus.cluster.swarm("client-cert", "ls", "--quiet")).stdout.split()
    renew = ("client-cert", "prometheus", "--role", "viewer", "--out", str(folder / "viewer"), "--replace")
    await prometheus.cluster.swarm(*renew)
    await manager_host.run(*deploy)
    for serial in before:
        await prometheus.cluster.swarm("client-cert", "revoke", serial)
    await prometheus.cluster.until(partial(reads, time.time() + 1), 60, pause=0.5)
    (still,) = await prometheus.cluster.running("monitoring_prometheus", 1)
    assert still["ID"] == task["ID"]


def prometheus_image() -> Image:
    """Return an image of Debian's Prometheus with the libraries that it needs."""
    program = debian("prometheus", "usr/bin/prometheus") / "usr/bin/prometheus"
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    libraries = [Path(word) for word in listed.split() if word.startswith("/")]
    files = {str(each).lstrip("/"): each.read_bytes() for each in libraries}
    layer = tar_of({"bin/prometheus": program.read_bytes(), **files}, folders=("tmp", "prometheus"))
    return Image("prometheus:lab", (layer,), {"Entrypoint": ["/bin/prometheus"], "Env": []})


async def test_a_new_root_needs_one_command_on_the_way(prometheus: Prometheus) -> None:
    """With files of the old root nothing is read; with a new certificate's in their place all is, without a restart."""
    cluster = prometheus.cluster
    said = (await cluster.swarm("ca", "--rotate")).stdout
    assert "need new certificates ('swarm-manager client-cert NAME --replace'): prometheus" in said
    ups = 'up{job="swarm"}'

    async def is_up(value: str) -> bool:
        found = await prometheus.query(ups)
        return bool(found) and {each["value"][1] for each in found} == {value}

    await cluster.until(lambda: is_up("0"), 60, lambda: "pages are read with the old root's files", pause=0.5)
    files = ("--out", str(cluster.manager_host.folder / "viewer"))
    await cluster.swarm("client-cert", "prometheus", "--role", "viewer", *files, "--replace")
    await cluster.until(lambda: is_up("1"), 90, lambda: "no page is read with the new root's files", pause=0.5)

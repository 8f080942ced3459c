"""Prometheus reads a cluster as deploy/monitoring says: over TLS, as a viewer. Alerts fire, boards have data."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.clients.installed import debian
from tests.e2e.cluster import Cluster
from tests.lab.images import Image, docker_archive, tar_of
from tests.unit.deploy.test_monitoring import BOARDS, MONITORING, queries

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

PORT = 9098
# Of what cannot be in so young a cluster: jobs, autoscaling, updates.
ABSENT = ("swarm_job_", "swarm_service_autoscale_", "swarm_service_update_state")


class Watching:
    """A Prometheus that watches a cluster; alerts fire as soon as their condition holds."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def ask(self, path: str) -> Any:
        url = f"http://127.0.0.1:{PORT}/api/v1/{path}"
        asked = await self.cluster.boss.run("curl", "-sSf", url, check=False)
        return json.loads(asked.stdout)["data"] if not asked.returncode else None

    async def query(self, text: str) -> list[dict[str, Any]]:
        data = await self.ask(f"query?query={quote(text)}")
        return list(data["result"]) if data is not None else []

    async def firing(self, alert: str) -> list[dict[str, str]]:
        data = await self.ask("alerts") or {"alerts": []}
        return [each["labels"] for each in data["alerts"] if each["labels"]["alertname"] == alert]


def configuration(folder: Path, address: str, certificates: Path) -> Path:
    """Write what deploy/monitoring has, for this cluster: every two seconds, and alerts at once."""
    text = (MONITORING / "prometheus.yml").read_text()
    text = text.replace("MANAGER:2376", f"{address}:2376").replace("/run/secrets", str(certificates))
    (folder / "alerts.yml").write_text(
        "\n".join(line for line in (MONITORING / "alerts.yml").read_text().splitlines() if "        for: " not in line)
    )
    file = folder / "prometheus.yml"
    file.write_text(text.replace("15s", "2s"))
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster("monitoring")
    cluster.listen = ("tcp://0.0.0.0:2376",)
    async with cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watching(cluster: Cluster) -> AsyncIterator[Watching]:
    boss = cluster.boss
    certificates = boss.folder / "viewer"
    await cluster.swarm("client-cert", "prometheus", "--role", "viewer", "--out", str(certificates))
    await cluster.swarm(
        *("service", "create", "-q", "--detach", "--no-resolve-image", "--replicas", "2", "--name", "web", "web:lab")
    )
    await cluster.running("web", 2)
    program = debian("prometheus", "usr/bin/prometheus") / "usr/bin/prometheus"
    config = configuration(boss.folder, boss.ip, certificates)
    process = await boss.spawn(
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={boss.folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{PORT}",
        name="prometheus",
    )
    watching = Watching(cluster)

    async def scraped() -> bool:
        return bool(await watching.query('swarm_service_tasks_running{service="web"} == 2'))

    await cluster.until(scraped, 40, process.tail, pause=0.2)
    yield watching
    await process.stop()


async def test_all_nodes_are_there_and_measured(watching: Watching) -> None:
    async def measured() -> bool:
        return len(await watching.query("swarm_node_cpu_usage_ratio")) == len(watching.cluster.hosts)

    await watching.cluster.until(measured, 40, pause=0.5)
    states = await watching.query('swarm_node_state{state="ready"}')
    assert {each["metric"]["node"] for each in states} == {host.name for host in watching.cluster.hosts}


async def test_containers_are_on_their_nodes_pages(watching: Watching) -> None:
    query = 'container_memory_working_set_bytes{container_label_com_docker_swarm_service_name="web"} > 0'

    async def both() -> bool:
        return len(await watching.query(query)) == 2

    await watching.cluster.until(both, 30, pause=0.5)
    found = await watching.query(query)
    assert {each["metric"]["job"] for each in found} == {"swarm-nodes"}
    tasks = {task["NodeID"] for task in await watching.cluster.tasks("web")}
    assert {each["metric"]["container_label_com_docker_swarm_node_id"] for each in found} == tasks


async def test_the_command_line_shows_what_is_used(watching: Watching) -> None:
    shown = (await watching.cluster.swarm("service", "stats", "--no-stream", "web")).stdout.split("\n")
    assert shown[0].split() == ["NAME", "TASKS", "CPU", "MEM", "LIMIT", "FAILURES/1H"]
    name, tasks, cpu, memory, *_ = shown[1].split()
    assert (name, tasks) == ("web", "2/2")
    assert float(cpu) >= 0
    assert memory.endswith("iB")
    nodes = (await watching.cluster.swarm("node", "stats", "--no-stream")).stdout.splitlines()
    assert [line.split()[0] for line in nodes[1:]] == [host.name for host in watching.cluster.hosts]
    assert not any("--" in line for line in nodes)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
async def test_a_boards_panels_have_data(watching: Watching, board: Path) -> None:
    host = watching.cluster.hosts[0].name
    for text in queries(board):
        asked = text.replace("$service", "web").replace("$node", host).replace("[5m]", "[1m]")
        assert await watching.ask(f"query?query={quote(asked)}") is not None, asked
        if not any(name in asked for name in ABSENT):
            await watching.cluster.until(partial(watching.query, asked), 30, partial(str, asked), pause=0.5)


async def test_it_comes_up_as_a_stack(watching: Watching) -> None:
    """docs/monitoring.md as written; the image is made of Debian's program, as the lab has no registry."""
    boss, folder = watching.cluster.boss, watching.cluster.boss.folder / "monitoring"
    shutil.copytree(MONITORING, folder)
    shutil.copytree(boss.folder / "viewer", folder / "viewer")
    text = (folder / "prometheus.yml").read_text()
    (folder / "prometheus.yml").write_text(text.replace("MANAGER", boss.ip).replace("15s", "2s"))
    archive = folder / "image.tar"
    archive.write_bytes(docker_archive([prometheus_image()]))
    await boss.docker("load", "-i", archive)
    await watching.cluster.swarm("node", "update", "--label-add", "monitoring=yes", boss.name)
    command = ("swarm-manager", "-H", watching.cluster.api, "stack", "deploy", "--resolve-image", "never")
    await boss.run(
        *("env", "PROMETHEUS_IMAGE=prometheus:lab", *command, "-c", str(folder / "compose.yaml"), "monitoring")
    )
    await watching.cluster.running("monitoring_prometheus", 1)

    async def answers() -> bool:
        url = f"http://{watching.cluster.hosts[1].ip}:9090/api/v1/query?query=swarm_manager_leader"
        asked = await boss.run("curl", "-sSf", url, check=False)
        return not asked.returncode and bool(json.loads(asked.stdout)["data"]["result"])

    await watching.cluster.until(answers, 60, pause=0.5)


def prometheus_image() -> Image:
    """Return an image of Debian's Prometheus with the libraries that it needs."""
    program = debian("prometheus", "usr/bin/prometheus") / "usr/bin/prometheus"
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    libraries = [Path(word) for word in listed.split() if word.startswith("/")]
    files = {str(each).lstrip("/"): each.read_bytes() for each in libraries}
    layer = tar_of({"bin/prometheus": program.read_bytes(), **files}, folders=("tmp", "prometheus"))
    return Image("prometheus:lab", (layer,), {"Entrypoint": ["/bin/prometheus"], "Env": []})


async def test_alerts_fire_when_a_service_and_a_node_are_down(watching: Watching) -> None:
    cluster = watching.cluster
    assert await watching.firing("ServiceDown") == []
    await cluster.swarm("service", "create", "-q", "--detach", "--no-resolve-image", "--name", "dead", "nothing:lab")
    await cluster.hosts[-1].power_off()

    async def fire() -> bool:
        down = await watching.firing("ServiceDown")
        nodes = await watching.firing("NodeDown")
        return any(each["service"] == "dead" for each in down) and any(
            each["node"] == cluster.hosts[-1].name for each in nodes
        )

    await cluster.until(fire, 60, pause=0.5)

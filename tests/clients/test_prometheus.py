"""Prometheus, Debian's, finds the cluster's nodes, services, tasks and containers by the Docker API."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.clients.installed import PROGRAMS, debian
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PORT = 9099
JOBS = ("services", "tasks", "nodes", "running", "containers")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found(cluster: Cluster) -> AsyncIterator[dict[str, list[dict[str, str]]]]:
    """What Prometheus discovered, by job, before its rules choose: the labels of each target."""
    await cluster.swarm("network", "create", "--attachable", "watched")
    create = ("service", "create", "-q", "--detach", "--no-resolve-image", "--replicas", "2")
    await cluster.swarm(*create, "--name", "meshed", "-p", "8090:80", "web:lab")
    await cluster.swarm(*create, "--name", "inside", "--network", "watched", "--label", "scrape=yes", "web:lab")
    await cluster.swarm(*create, "--name", "both", "--network", "watched", "-p", "8091:80", "web:lab")
    for name in ("meshed", "inside", "both"):
        await cluster.running(name, 2)
    run = ("docker", "-H", cluster.api, "run", "-d", "--network", "watched")
    await cluster.manager_host.run(*run, "--name", "plain", "-p", "8092:80", "web:lab")
    program = debian("prometheus", "usr/bin/prometheus") / "usr/bin/prometheus"
    config = cluster.manager_host.folder / "prometheus.yml"
    config.write_text((PROGRAMS / "prometheus.yml").read_text().replace("HOST", cluster.api))
    storage = f"--storage.tsdb.path={cluster.manager_host.folder}/prometheus"
    listen = f"--web.listen-address=127.0.0.1:{PORT}"
    process = await cluster.manager_host.spawn(
        str(program), f"--config.file={config}", storage, listen, name="prometheus"
    )
    targets: dict[str, list[dict[str, str]]] = {}

    async def discovered() -> bool:
        asked = await cluster.manager_host.run("curl", "-sS", f"http://127.0.0.1:{PORT}/api/v1/targets", check=False)
        if asked.returncode:
            return False
        data: dict[str, Any] = json.loads(asked.stdout)["data"]
        targets.clear()
        for target in (*data["activeTargets"], *data["droppedTargets"]):
            labels = target["discoveredLabels"]
            targets.setdefault(labels["job"], []).append({**labels, "kept": str("labels" in target)})
        return targets.keys() == set(JOBS)

    await cluster.until(discovered, 40, process.tail, pause=0.2)
    yield targets
    await process.stop()


def by(labels: list[dict[str, str]], name: str) -> dict[str, list[dict[str, str]]]:
    grouped: dict[str, list[dict[str, str]]] = {}
    for each in labels:
        grouped.setdefault(each.get(f"__meta_{name}", ""), []).append(each)
    return grouped


async def test_nodes(found: dict[str, Any], cluster: Cluster) -> None:
    nodes = by(found["nodes"], "dockerswarm_node_hostname")
    assert nodes.keys() == {host.name for host in cluster.hosts}
    assert nodes["h1"][0]["__address__"] == f"{cluster.manager_host.ip}:80"
    assert nodes["h1"][0]["__meta_dockerswarm_node_role"] == "manager"


async def test_services(found: dict[str, Any], cluster: Cluster) -> None:
    """A target for each address and port of the mesh; with a network one at the address there, which answers."""
    services = by(found["services"], "dockerswarm_service_name")
    networks = {name: {each["__meta_dockerswarm_network_name"] for each in labels} for name, labels in services.items()}
    assert networks == {"meshed": {"ingress"}, "inside": {"watched"}, "both": {"ingress", "watched"}}
    assert services["inside"][0]["__address__"] == f"{await cluster.vip('inside')}:80"
    assert services["meshed"][0]["__meta_dockerswarm_service_endpoint_port_publish_mode"] == "ingress"


async def test_tasks(found: dict[str, Any], cluster: Cluster) -> None:
    tasks = by(found["tasks"], "dockerswarm_service_name")
    assert {name: len({each["__meta_dockerswarm_task_id"] for each in labels}) for name, labels in tasks.items()} == {
        "meshed": 2,
        "inside": 2,
        "both": 2,
    }
    wanted = {
        end["Addresses"][0].partition("/")[0] for t in await cluster.tasks("inside") for end in t["NetworksAttachments"]
    }
    assert {each["__address__"] for each in tasks["inside"]} == {f"{address}:80" for address in wanted}


async def test_rules_choose_by_labels_and_networks(found: dict[str, Any]) -> None:
    kept = [each for each in found["running"] if each["kept"] == "True"]
    assert {each["__meta_dockerswarm_service_name"] for each in kept} == {"inside"}
    assert len(kept) == 2


async def test_containers(found: dict[str, Any]) -> None:
    """Those of all nodes, tasks' among them, each in the cluster's networks."""
    containers = by(found["containers"], "docker_container_name")
    assert {name.partition(".")[0] for name in containers} == {"/plain", "/meshed", "/inside", "/both"}
    plain = by(containers["/plain"], "docker_network_name")
    assert set(plain) == {"watched"}
    assert plain["watched"][0]["__meta_docker_container_label_swarm_x_node"]

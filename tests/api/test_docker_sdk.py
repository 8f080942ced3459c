"""The Python SDK (PyPI: docker) against the manager's API."""

import asyncio
import time
from typing import Any

import pytest

from manager.api.http.server import serve
from tests.fakes.api_cluster import ApiCluster

docker = pytest.importorskip("docker", reason="needs the Docker SDK: pip install docker")


async def test_docker_sdk(cluster: ApiCluster) -> None:
    host = f"unix://{cluster.folder}/docker.sock"
    async with serve(cluster.api, [host]):
        await asyncio.to_thread(session, host)


def session(host: str) -> None:
    client = docker.DockerClient(base_url=host, version="auto")
    try:
        assert client.ping()
        assert client.version()["ApiVersion"] == "1.51"
        assert client.info()["Swarm"]["Nodes"] == 3
        network = client.networks.create("net1", driver="overlay", labels={"a": "b"})
        secret = client.secrets.create(name="s1", data=b"hush", labels={"x": "y"})
        config = client.configs.create(name="c1", data=b"plain")
        assert client.configs.get(config.id).attrs["Spec"]["Data"] == "cGxhaW4="
        service = create(client, secret.id, config.id)
        change(service)
        refusals(client)
        swarm(client)
        events = client.events(since=1, until=int(time.time()) + 1, decode=True)
        assert ("service", "create") in {(event["Type"], event["Action"]) for event in events}
        for each in (service, secret, config, network):
            each.remove()
        assert client.services.list() == client.secrets.list() == client.configs.list() == []
    finally:
        client.close()


def create(client: Any, secret: str, config: str) -> Any:
    types = docker.types
    service = client.services.create(
        "busybox",
        ["sleep", "1"],
        name="web",
        mode=types.ServiceMode("replicated", 2),
        networks=["net1"],
        endpoint_spec=types.EndpointSpec(ports={8080: 80}),
        secrets=[types.SecretReference(secret, "s1")],
        configs=[types.ConfigReference(config, "c1")],
        resources=types.Resources(mem_limit=50_000_000),
        restart_policy=types.RestartPolicy("on-failure"),
        update_config=types.UpdateConfig(parallelism=2),
        rollback_config=types.RollbackConfig(order="start-first"),
        healthcheck=types.Healthcheck(test=["CMD", "true"], interval=10**9),
        labels={"k": "v"},
        constraints=["node.role==worker"],
        mounts=["v:/v:ro"],
        env=["A=b"],
    )
    assert service.attrs["Spec"]["RollbackConfig"]["Order"] == "start-first"
    assert [task["Status"]["State"] for task in running(service, 2)] == ["running"] * 2
    return service


def running(service: Any, count: int) -> list[Any]:
    deadline = time.monotonic() + 10
    while len(tasks := service.tasks(filters={"desired-state": "running"})) != count:
        assert time.monotonic() < deadline, tasks
        time.sleep(0.01)
    return tasks  # type: ignore[no-any-return]


def change(service: Any) -> None:
    service.reload()
    service.scale(3)
    running(service, 3)
    service.reload()
    service.update(image="busybox:2")
    assert {task["Spec"]["ContainerSpec"]["Image"] for task in running(service, 3)} == {"busybox:2"}
    assert b"hello from" in b"".join(service.logs(stdout=True, stderr=True))
    service.reload()
    assert service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=b"]


def refusals(client: Any) -> None:
    with pytest.raises(docker.errors.APIError, match="service web already exists") as taken:
        client.services.create("busybox", name="web")
    assert taken.value.status_code == 409
    with pytest.raises(docker.errors.APIError, match="already part of a swarm"):
        client.swarm.init()
    with pytest.raises(docker.errors.NotFound):
        client.services.get("nope")


def swarm(client: Any) -> None:
    client.swarm.reload()
    before = client.swarm.attrs["JoinTokens"]["Worker"]
    assert client.swarm.update(rotate_worker_token=True, task_history_retention_limit=3)
    client.swarm.reload()
    assert client.swarm.attrs["JoinTokens"]["Worker"] != before
    assert client.swarm.attrs["Spec"]["Orchestration"] == {"TaskHistoryRetentionLimit": 3}
    [node] = client.nodes.list(filters={"name": "w1"})
    assert node.update(node.attrs["Spec"] | {"Availability": "drain"})
    assert client.nodes.get(node.id).attrs["Spec"]["Availability"] == "drain"

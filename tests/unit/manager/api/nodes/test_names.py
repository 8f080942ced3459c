"""The host names of nodes, and what of their workers' words is not believed, through the API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from common.clock import rfc3339
from common.model.node import NodeDescription
from manager.domain.refusals import Refusal
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster

SECOND = "z" * 25


async def rename(client: Client, reference: str, name: str) -> tuple[int, Any]:
    node = await client.get(f"/nodes/{reference}")
    body = {**node["Spec"], "Name": name}
    return await client.ask("POST", f"/nodes/{reference}/update?version={node['Version']['Index']}", body)


async def with_second(cluster: ApiCluster, name: str) -> None:
    """Add a node that joined later with a name that another has."""
    first = cluster.store.view.nodes.get(WORKER1)
    assert first is not None
    description = NodeDescription(hostname=name)
    second = msgspec.structs.replace(first, id=SECOND, description=description, hostname_taken=True)
    await cluster.store.update(lambda tx: tx.put(second))


async def test_an_operator_gives_a_node_another_name_and_takes_it_back(client: Client) -> None:
    assert await rename(client, "w1", "web-3") == (200, None)
    node = await client.get("/nodes/web-3")
    assert (node["ID"], node["Spec"]["Name"], node["Description"]["Hostname"]) == (WORKER1, "web-3", "web-3")
    assert (await client.error("GET", "/nodes/w1"))[0] == 404
    assert await rename(client, "web-3", "") == (200, None)
    assert (await client.get("/nodes/w1"))["Description"]["Hostname"] == "w1"


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("w2", 409, f"node {WORKER2} is called w2 already: remove it, or choose another name"),
        ("W2", 409, f"node {WORKER2} is called w2 already"),
        ("a b", 400, "invalid Name: 'a b' is not a host name"),
        ("x" * 300, 400, "is not a host name"),
        ("x\x1b[2J", 400, "is not a host name"),
    ],
)
async def test_a_name_is_a_host_name_that_no_other_node_has(client: Client, name: str, status: int, words: str) -> None:
    answered, answer = await rename(client, "w1", name)
    assert answered == status
    assert words in answer["message"]


async def test_a_node_with_a_taken_name_says_so_until_it_gets_its_own(client: Client, cluster: ApiCluster) -> None:
    await with_second(cluster, "W1")
    node = await client.get(f"/nodes/{SECOND}")
    assert (node["Description"]["Hostname"], node["Description"]["HostnameTaken"]) == ("W1", True)
    assert "HostnameTaken" not in (await client.get(f"/nodes/{WORKER1}"))["Description"]
    assert await rename(client, SECOND, "w4") == (200, None)
    assert "HostnameTaken" not in (await client.get("/nodes/w4"))["Description"]
    assert await rename(client, "w4", "") == (200, None)
    assert (await client.get(f"/nodes/{SECOND}"))["Description"]["HostnameTaken"]


async def test_a_service_bound_to_an_ambiguous_name_gets_a_warning(client: Client, cluster: ApiCluster) -> None:
    placement = {"Constraints": ["node.hostname==w1"]}
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}, "Placement": placement}}
    status, made = await client.ask("POST", "/services/create", spec)
    assert (status, made["Warnings"]) == (201, None)
    await with_second(cluster, "w1")
    service = await client.get("/services/web")
    path = f"/services/web/update?version={service['Version']['Index']}"
    words = (
        f"constraint node.hostname==w1: 2 nodes have that host name, and it means {WORKER1}, which had it first: "
        "give the others another with 'swarm-manager node update --hostname NAME NODE'"
    )
    assert await client.ask("POST", path, spec) == (200, {"Warnings": [words]})
    status, made = await client.ask("POST", "/services/create", spec | {"Name": "other"})
    assert (status, made["Warnings"]) == (201, [words])


async def test_what_was_not_believed_of_a_worker_is_shown(client: Client, cluster: ApiCluster) -> None:
    refusals = cluster.api.context.soft.refusals
    refusals.add(WORKER1, [Refusal("TaskStatus.addresses", "task x: 1.2.3.4 is not …")] * 3, 1_700_000_000.0)
    node = await client.get("/nodes/w1")
    entry = {
        "Field": "TaskStatus.addresses",
        "Reason": "task x: 1.2.3.4 is not …",
        "Count": 3,
        "At": rfc3339(1_700_000_000.0),
    }
    assert node["Refused"] == [entry]
    assert [each.get("Refused") for each in await client.get("/nodes")] == [None, [entry], None]

"""Nodes through the API."""

from typing import Any

import msgspec
import pytest

from common.model.node import NodeStatus
from manager.store.transaction import Transaction
from tests.fakes.api_client import OUT_OF_SEQUENCE, RPC, Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster


async def test_nodes(client: Client) -> None:
    nodes = await client.get("/nodes")
    assert [node["Description"]["Hostname"] for node in nodes] == ["m1", "w1", "w2"]
    assert nodes[0]["ManagerStatus"] == {"Leader": True, "Reachability": "reachable", "Addr": "10.1.0.1:2377"}
    assert "ManagerStatus" not in nodes[1]
    assert nodes[1]["Spec"] == {"Labels": {}, "Role": "worker", "Availability": "active"}
    assert nodes[1]["Status"] == {"State": "ready", "Addr": "10.1.0.2"}
    assert nodes[1]["Description"]["Platform"] == {"Architecture": "x86_64", "OS": "linux"}
    assert nodes[1]["Description"]["TLSInfo"]["CertIssuerSubject"] == "MBMxETAPBgNVBAMTCHN3YXJtLWNh"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ('{"role":["manager"]}', ["m1"]),
        ('{"name":["w"]}', ["w1", "w2"]),
        (f'{{"id":["{WORKER1[:4]}"]}}', ["w1"]),
        ('{"membership":["pending"]}', []),
        ('{"node.label":["zone"]}', []),
    ],
)
async def test_node_filters(client: Client, filters: str, names: list[str]) -> None:
    assert [n["Description"]["Hostname"] for n in await client.get(f"/nodes?filters={filters}")] == names


async def test_bad_node_filters(client: Client) -> None:
    assert await client.error("GET", '/nodes?filters={"role":["x"]}') == (400, "Invalid role filter: 'x'")
    assert await client.error("GET", '/nodes?filters={"membership":["x"]}') == (400, "Invalid membership filter: 'x'")


async def test_names_of_several_nodes_are_ambiguous(client: Client, cluster: ApiCluster) -> None:
    def same_name(tx: Transaction) -> None:
        worker = tx.nodes.get(WORKER1)
        assert worker is not None
        tx.put(msgspec.structs.replace(worker, id="z" * 25))

    await cluster.store.update(same_name)
    assert await client.error("GET", "/nodes/w1") == (400, "node w1 is ambiguous (2 matches found)")
    assert (await client.get(f"/nodes/{WORKER1}"))["ID"] == WORKER1


async def test_node_update(client: Client, cluster: ApiCluster) -> None:
    index = await client.version("/nodes/w1")
    body = {"role": "worker", "Availability": "drain", "Labels": {"x": "y"}}
    assert await client.error("POST", f"/nodes/w1/update?version={index - 1}", body) == OUT_OF_SEQUENCE
    assert await client.ask("POST", f"/nodes/w1/update?version={index}", body) == (200, None)
    node = cluster.store.view.nodes.get(WORKER1)
    assert node is not None
    assert (node.spec.availability, node.spec.labels) == ("drain", {"x": "y"})
    read = await client.version("/nodes/w1")

    def lose(tx: Transaction) -> None:
        known = tx.nodes.get(WORKER1)
        assert known is not None
        tx.put(msgspec.structs.replace(known, status=NodeStatus(state="down")))

    await cluster.store.update(lose)
    assert await client.ask("POST", f"/nodes/w1/update?version={read}", body) == (200, None), "its state is no matter"


@pytest.mark.parametrize(
    ("node", "body", "status", "words"),
    [
        ("m1", {"Role": "x"}, 400, 'invalid Role: "x"'),
        ("m1", {"Role": "manager", "Availability": "nope"}, 400, 'invalid Availability: "nope"'),
        ("m1", {"Role": "worker"}, 400, RPC.format("FailedPrecondition", "attempting to demote the last manager")),
        ("w1", {"Role": "manager"}, 400, "cannot be promoted: the store of this cluster is a file of its one manager"),
        ("nope", {"Role": "worker"}, 404, "node nope not found"),
    ],
)
async def test_refused_node_updates(client: Client, node: str, body: Any, status: int, words: str) -> None:
    index = 1 if node == "nope" else await client.version(f"/nodes/{node}")
    answered, message = await client.error("POST", f"/nodes/{node}/update?version={index}", body)
    assert words in message
    assert answered == status


async def test_node_removal(client: Client, cluster: ApiCluster) -> None:
    text = f"node {WORKER1} is not down and can't be removed. 'swarm-worker leave' on its host takes it out"
    words = RPC.format("FailedPrecondition", f"{text} of the cluster")
    assert await client.error("DELETE", "/nodes/w1") == (400, words)
    assert await client.ask("DELETE", "/nodes/w1?force=1") == (200, None)
    assert await client.error("DELETE", "/nodes/w1") == (404, "node w1 not found")

    def lose(tx: Transaction) -> None:
        node = tx.nodes.get(WORKER2)
        assert node is not None
        tx.put(msgspec.structs.replace(node, status=NodeStatus(state="down")))

    await cluster.store.update(lose)
    assert await client.ask("DELETE", "/nodes/w2") == (200, None)
    status, message = await client.error("DELETE", "/nodes/m1?force=1")
    assert status == 400
    assert "is a cluster manager and is a member of the raft cluster" in message

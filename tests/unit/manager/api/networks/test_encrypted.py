"""Encrypted networks through the API: when there can be one, what its user is told, and keys on request."""

from typing import Any

import msgspec
import pytest

from common.model import Network
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, ApiCluster


async def unable(cluster: ApiCluster, *node_ids: str) -> None:
    """Let nodes have no WireGuard; without ids, all."""

    def step(tx: Transaction) -> None:
        for node in list(tx.nodes):
            if not node_ids or node.id in node_ids:
                description = msgspec.structs.replace(node.description, encryption="", lacks=("no WireGuard",))
                tx.put(msgspec.structs.replace(node, description=description))

    await cluster.store.update(step)


def body(value: str = "", **more: Any) -> dict[str, Any]:
    return {"Name": "on1", "Driver": "overlay", "Options": {"encrypted": value}, **more}


@pytest.mark.parametrize("value", ["", "true", "yes", "false"])
async def test_the_option_counts_whatever_it_says(client: Client, cluster: ApiCluster, value: str) -> None:
    _, created = await client.ask("POST", "/networks/create", body(value))
    assert not created["Warning"]
    assert (await client.get("/networks/on1"))["Options"]["encrypted"] == value
    (network,) = cluster.store.view.networks.named("on1")
    assert network.spec.encrypted


async def test_it_is_refused_when_no_node_can_carry_it(client: Client, cluster: ApiCluster) -> None:
    await unable(cluster)
    status, message = await client.error("POST", "/networks/create", body())
    assert status == 400
    assert "no node of the cluster supports encrypted networks: install Debian's wireguard-tools" in message
    assert not cluster.store.view.networks.named("on1")
    await client.ask("POST", "/networks/create", {"Name": "on1", "Driver": "overlay"})
    (plain,) = cluster.store.view.networks.named("on1")
    assert not plain.spec.encrypted


async def test_nodes_that_cannot_carry_it_are_named(client: Client, cluster: ApiCluster) -> None:
    await unable(cluster, WORKER1)
    _, created = await client.ask("POST", "/networks/create", body())
    assert created["Warning"].startswith("tasks of this network do not run on w1, which cannot encrypt")
    description = (await client.get("/nodes/w1"))["Description"]
    assert description["Lacks"] == ["no WireGuard"]
    assert "Encryption" not in description
    assert (await client.get("/nodes/w2"))["Description"]["Encryption"] == "wireguard"


@pytest.mark.parametrize(
    ("request_body", "status", "why"),
    [
        (body(Ingress=True), 501, "mesh is not encrypted"),
    ],
)
async def test_what_it_cannot_be_is_refused(client: Client, request_body: Any, status: int, why: str) -> None:
    found, message = await client.error("POST", "/networks/create", request_body)
    assert (found, why in message) == (status, True)


async def test_new_keys_on_request(client: Client, cluster: ApiCluster) -> None:
    status, message = await client.error("POST", "/networks/rotate-keys", {})
    assert (status, "no keys to rotate" in message) == (400, True)
    await client.ask("POST", "/networks/create", body())

    def lease(tx: Transaction) -> None:
        (network,) = tx.networks.named("on1")
        assert isinstance(network, Network)
        tx.put(msgspec.structs.replace(network, leases={WORKER1: "10.3.16.0/24"}))

    await cluster.store.update(lease)
    before = cluster.store.view.cluster.tunnel_generation
    _, answer = await client.ask("POST", "/networks/rotate-keys", {})
    assert answer == {"Generation": before + 1}

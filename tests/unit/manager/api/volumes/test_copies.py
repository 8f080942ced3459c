"""Copies and snapshots as a client asks for them: what is begun, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from common.model import StoredObject, Transfer
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.container_engine import Engines
from tests.fakes.volumes import copy

NEW = "e" * 32


@pytest.fixture(autouse=True)
async def able(cluster: ApiCluster, engines: Engines) -> None:
    """Both nodes can copy; the first one has a volume, the second one what was moved away from there."""

    def step(tx: Transaction) -> None:
        for node in list(tx.nodes):
            tx.put(replace(node, description=replace(node.description, volumes=True, snapshots=True)))

    await cluster.store.update(step)
    await put(cluster, copy(WORKER1, "data", size=700), copy(WORKER2, "data", role="retired"))


async def put(cluster: ApiCluster, *values: StoredObject) -> None:
    await cluster.store.update(lambda tx: [tx.put(value) for value in values])


def only(cluster: ApiCluster) -> Transfer:
    (found,) = cluster.store.view.transfers
    return found


async def test_a_copy_goes_to_a_node_under_a_name(cluster: ApiCluster, client: Client) -> None:
    body = {"Node": "w2", "Name": "again", "Hold": "stop", "Limit": 5000, "MaxDowntime": 3.5}
    status, begun = await client.ask("POST", "/swarm/volumes/data/copy", body)
    found = only(cluster)
    assert (status, begun["Kind"], begun["From"], begun["To"], begun["Name"]) == (202, "copy", "w1", "w2", "again")
    assert (begun["Size"], begun["Hold"]) == (700, "stop")
    assert (found.operation, found.source, found.target, found.as_name) == ("copy", WORKER1, WORKER2, "again")
    assert (found.limit, found.max_downtime, found.hold, len(found.data_id)) == (5000, 3.5, "stop", 32)


async def test_a_snapshot_is_on_the_volumes_node_named_by_the_time(cluster: ApiCluster, client: Client) -> None:
    status, begun = await client.ask("POST", "/swarm/volumes/data/snapshot", {})
    found = only(cluster)
    assert (status, begun["To"], found.hold, found.target) == (202, "w1", "pause", WORKER1)
    name, _, when = found.as_name.partition(".")
    assert (name, len(when), when.isdecimal()) == ("data", 14, True)


async def test_an_old_copy_is_copied_where_its_node_is_named(cluster: ApiCluster, client: Client) -> None:
    assert (await client.ask("POST", "/swarm/volumes/w2/data/copy", {"Name": "rescued"}))[0] == 202
    assert only(cluster).source == WORKER2


async def test_a_trial_begins_nothing(cluster: ApiCluster, client: Client) -> None:
    status, found = await client.ask("POST", "/swarm/volumes/data/snapshot", {"DryRun": True, "Name": "x"})
    assert (status, found["Name"], len(cluster.store.view.transfers)) == (200, "x", 0)


async def test_what_a_copy_left_unfinished_is_gone_on_with(cluster: ApiCluster, client: Client) -> None:
    await put(cluster, copy(WORKER2, "again", NEW, generation=0))
    assert (await client.ask("POST", "/swarm/volumes/data/copy", {"Node": "w2", "Name": "again"}))[0] == 202
    assert only(cluster).data_id == NEW


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"Hold": "freeze"}, 400, "invalid Hold 'freeze': it is one of pause, stop, live"),
        ({"Name": "../x"}, 400, "'../x' is not a valid volume name"),
        (
            {"Node": "w2"},
            400,
            "node w2 has a volume data already: choose another name, or swarm-manager volume rm w2/data",
        ),
        ({"Node": "w9"}, 404, "w9"),
    ],
)
async def test_what_cannot_be_is_refused(client: Client, body: Any, status: int, words: str) -> None:
    found, message = await client.error("POST", "/swarm/volumes/data/copy", body)
    assert words in message
    assert found == status


async def test_nothing_is_copied_while_it_moves(cluster: ApiCluster, client: Client) -> None:
    await put(cluster, Transfer(id="m", volumes=("data",), source=WORKER1, target=WORKER2))
    _, message = await client.error("POST", "/swarm/volumes/w1/data/snapshot", {})
    assert message.endswith("desc = volume data is being moved already")


async def test_two_copies_of_one_volume_go_on_beside_each_other(cluster: ApiCluster, client: Client) -> None:
    for name in ("one", "two"):
        assert (await client.ask("POST", "/swarm/volumes/data/snapshot", {"Name": name}))[0] == 202
    assert len(cluster.store.view.transfers) == 2


async def test_an_older_workers_volumes_are_not_copied(cluster: ApiCluster, client: Client) -> None:
    node = cluster.store.view.nodes.get(WORKER1)
    assert node is not None
    await put(cluster, replace(node, description=replace(node.description, snapshots=False)))
    _, message = await client.error("POST", "/swarm/volumes/data/snapshot", {})
    assert message.endswith("the worker of node w1 is too old to copy volumes")

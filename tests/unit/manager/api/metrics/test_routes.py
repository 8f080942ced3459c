"""The pages' routes: who may read them, in which form, and the list of them all."""

import gzip
from dataclasses import replace

import msgspec

from manager.api.call import Answer, Call
from manager.api.leader.standing import Alone
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import WORKER1, ApiCluster


async def test_a_page_is_packed_for_who_takes_that(cluster: ApiCluster, client: Client):
    _, plain = await client.ask("GET", "/metrics")
    assert b"\nswarm_manager_leader 1.0\n" in plain
    call = Call("GET", "/metrics", headers={"accept-encoding": "gzip, deflate"}, caller=ADMIN)
    packed = await cluster.api.answer(call)
    assert isinstance(packed, Answer)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert b"\nswarm_manager_leader 1.0\n" in gzip.decompress(packed.value)


async def test_targets_are_at_the_address_that_was_reached(cluster: ApiCluster, client: Client):
    def measure(tx: Transaction) -> None:
        node = tx.nodes.get(WORKER1)
        assert node is not None
        described = msgspec.structs.replace(node.description, measures=True)
        tx.put(msgspec.structs.replace(node, description=described))

    await cluster.store.update(measure)
    _, found = await client.ask("GET", "/metrics/targets", headers={"host": "manager.example:2376"})
    assert found == [
        {"targets": ["manager.example:2376"], "labels": {"__metrics_path__": "/metrics"}},
        {
            "targets": ["manager.example:2376"],
            "labels": {"__metrics_path__": f"/nodes/{WORKER1}/metrics", "node": "w1", "job": "swarm-nodes"},
        },
    ]
    for strange in ("docker", "a:b", "a:1/../x"):  # a socket's, or nonsense: where the API is known to be
        _, found = await client.ask("GET", "/metrics/targets", headers={"host": strange})
        assert found[0]["targets"] == ["10.1.0.1:2376"]


class Follower(Alone):
    """The place of a manager that does not lead."""

    leads = False


async def test_a_manager_that_does_not_lead_lists_its_own_page(cluster: ApiCluster, client: Client):
    cluster.api.context = replace(cluster.api.context, standing=Follower())
    _, found = await client.ask("GET", "/metrics/targets", headers={"host": "second.example:2376"})
    assert found == [{"targets": ["second.example:2376"], "labels": {"__metrics_path__": "/metrics"}}]
    _, page = await client.ask("GET", "/metrics")
    assert b"\nswarm_manager_leader 0.0\n" in page
    assert b"swarm_manager_nodes" not in page


async def test_a_nodes_page_is_passed_on(client: Client):
    assert await client.ask("GET", "/nodes/w1/metrics") == (200, f"# the page of {WORKER1}\n".encode())
    status, message = await client.error("GET", "/nodes/m1/metrics")
    assert (status, "is not connected" in message) == (503, True)

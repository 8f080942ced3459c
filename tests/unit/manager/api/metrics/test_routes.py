"""The pages' routes: who may read them, in which form, and the list of them all."""

import gzip

import msgspec
import pytest

from common.model import Task
from common.model.container import ContainerSpec
from common.model.service import TaskSpec
from manager.api.call import Answer, Call
from manager.api.leader.quorum import SingleManager
from manager.api.metrics import routes
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from worker.metrics.kernel_files import ContainerNumbers
from worker.metrics.page import Running, write_page


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


class Follower(SingleManager):
    """The place of a manager that does not lead."""

    leads = False


async def test_a_manager_that_does_not_lead_lists_its_own_page(cluster: ApiCluster, client: Client):
    cluster.api.context = msgspec.structs.replace(cluster.api.context, quorum=Follower())
    _, found = await client.ask("GET", "/metrics/targets", headers={"host": "second.example:2376"})
    assert found == [{"targets": ["second.example:2376"], "labels": {"__metrics_path__": "/metrics"}}]
    _, page = await client.ask("GET", "/metrics")
    assert b"\nswarm_manager_leader 0.0\n" in page
    assert b"swarm_manager_nodes" not in page


async def test_a_nodes_page_is_passed_on(client: Client):
    assert await client.ask("GET", "/nodes/w1/metrics") == (200, f"# the page of {WORKER1}\n".encode())
    status, message = await client.error("GET", "/nodes/m1/metrics")
    assert (status, "is not connected" in message) == (503, True)


def page_of(node_id: str, service: str = "web") -> bytes:
    """Write a page as a node's worker does, of a container with a name that has all that needs an escape."""
    image = 'a"b\\c\nd,}{'
    spec = TaskSpec(container_spec=ContainerSpec(image=image))
    task = Task(id="t1", service_name=service, slot=1, node_id=node_id, spec=spec)
    return write_page([Running(task, ContainerNumbers(1.5, 7))], node_id)


async def test_a_page_of_a_nodes_own_containers_is_passed_on(cluster: ApiCluster, client: Client):
    cluster.engines.pages[WORKER1] = page_of(WORKER1) + b"swarm_worker_reconnects_total 2.0\n"
    assert await client.ask("GET", "/nodes/w1/metrics") == (200, cluster.engines.pages[WORKER1])


OWN = f'container_label_com_docker_swarm_node_id="{WORKER1}"'


@pytest.mark.parametrize(
    "line",
    [
        "swarm_manager_leader 1",
        'swarm_node_state{node="w2",state="down"} 1',
        f"swarm_manager_leader{{{OWN}}} 1",
        f" swarm_manager_leader{{{OWN}}} 1",
        "container_memory_usage_bytes 1",
        f"container_memory_usage_bytes{{x_{OWN}}} 1",
        f'container_memory_usage_bytes{{name="{OWN}",}} 1',
        f'container_memory_usage_bytes{{container_label_com_docker_swarm_node_id="{WORKER2}",x_{OWN}}} 1',
        *page_of(WORKER2).decode().splitlines()[2:3],
    ],
)
async def test_a_node_says_nothing_in_anothers_name(cluster: ApiCluster, client: Client, line: str):
    """Alerts and boards look for names alone."""
    for page in (line, page_of(WORKER1).decode() + line + "\n", line + "\n# HELP x"):
        cluster.engines.pages[WORKER1] = page.encode()
        status, message = await client.error("GET", "/nodes/w1/metrics")
        assert (status, "which is not of a container of its own" in message) == (503, True)


async def test_a_page_has_no_more_than_its_tasks_account_for(cluster: ApiCluster, client: Client):
    """Each line may be a series of its own, for as long as Prometheus keeps them."""
    cluster.engines.pages[WORKER1] = b"".join(
        b'container_memory_usage_bytes{name="%d",%s} 1\n' % (number, OWN.encode()) for number in range(600)
    )
    status, message = await client.error("GET", "/nodes/w1/metrics")
    assert (status, "of 600 lines, for 0 tasks" in message) == (503, True)


async def test_a_page_that_does_not_end_is_not_kept(
    cluster: ApiCluster, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(routes, "PAGE_BYTES", 1000)
    cluster.engines.pages[WORKER1] = b"#" * 1001
    status, message = await client.error("GET", "/nodes/w1/metrics")
    assert (status, "of more than 1,000 bytes, for 0 tasks" in message) == (503, True)

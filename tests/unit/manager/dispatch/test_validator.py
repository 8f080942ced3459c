"""A worker that lies, before a dispatcher: what it says of others, and of itself, harms nobody else."""

import asyncio
import logging
import math
import re

import pytest
from msgspec.structs import replace

from common.clock import rfc3339
from common.errors import InvalidArgument
from common.model import Network, Node, Service, Task, TaskState, TaskStatus
from common.model.network import IpamConfig, NetworkSpec
from common.model.node import NodeDescription, NodeSpec, NodeStatus
from common.model.service import Endpoint, NetworkAttachmentConfig, PortConfig, ServiceSpec, TaskSpec
from common.spec.constraints import parse
from common.tls import certificate_request, new_key
from common.wire.channel import PeerInfo
from common.wire.membership_messages import GoodbyeAck, Unfit
from common.wire.messages import (
    MESH,
    PROTOCOL_VERSION,
    Assignments,
    Heartbeat,
    HeartbeatAck,
    JoinReply,
    JoinRequest,
    NodeReport,
    Refused,
    StatusAck,
    StatusReport,
    TaskReport,
)
from tests.fakes.dispatching import Manager, Worker

RULES = "2001:db8::9 . 10.0.0.0/8 } ; flush ruleset ; #"


async def settled(worker: Worker) -> None:
    """Wait until the manager has dealt with all that was said before."""
    await worker.say(Heartbeat(), 99)
    await worker.expect(HeartbeatAck, 99)


def record(manager: Manager, node_id: str = "evil") -> Node:
    node = manager.store.view.nodes.get(node_id)
    assert node is not None
    return node


def refused(manager: Manager, node_id: str = "evil") -> dict[str, str]:
    return {each.field: each.reason for each in manager.dispatcher.soft.refusals.of(node_id)}


async def member(manager: Manager, node_id: str, number: int = 1, **fields: object) -> Node:
    values: dict[str, object] = {
        "description": NodeDescription(hostname=node_id),
        "status": NodeStatus(state="ready", addr=f"192.0.2.{number}"),
        "number": number,
        "agent": True,
        "certificate_serials": ("7",),
    }
    await manager.put(Node(id=node_id, **(values | fields)))  # type: ignore[arg-type]
    return record(manager, node_id)


async def session(manager: Manager, node_id: str = "evil", **hello: object) -> Worker:
    worker = manager.dial(node_id)
    await worker.hello(**{"description": NodeDescription(hostname=node_id), **hello})
    await worker.expect(Assignments)
    return worker


# --- addresses of hosts: other hosts make rules and tunnels of them ---------------------------------------------------


async def test_an_invalid_host_address_is_not_recorded_or_passed_on(manager: Manager) -> None:
    await member(manager, "evil", 1)
    await member(manager, "good", 2)
    description = NodeDescription(hostname="evil", ipv6_addresses=(RULES, "not-an-ip", "::1", "2001:db8::7"))
    worker = await session(manager, description=description, advertise_addr="127.0.0.1")
    assert record(manager).description.ipv6_addresses == ("2001:db8::7",)
    assert record(manager).status.addr == "10.0.0.9", "where its connection comes from"
    with manager.store.watch() as changes:  # what a node says its host is, is written once a second at most
        await worker.say(NodeReport(description=replace(description, ipv6_addresses=("not-an-ip",))))
        await changes.next()
    assert record(manager).description.ipv6_addresses == ()
    assert set(refused(manager)) == {"NodeDescription.ipv6_addresses", "Hello.advertise_addr"}


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "not-an-ip", "192.0.2.2", "224.0.0.1", "fe80::1%eth0"])
async def test_an_address_that_is_not_its_own_is_not_a_nodes(manager: Manager, address: str) -> None:
    await member(manager, "evil", 1)
    await member(manager, "good", 2)
    await session(manager, advertise_addr=address)
    assert record(manager).status.addr == "10.0.0.9"
    assert "Hello.advertise_addr" in refused(manager)


async def test_a_refused_address_is_believed_once_its_node_is_removed(manager: Manager) -> None:
    description = NodeDescription(hostname="old", ipv6_addresses=("2001:db8::5",))
    old = await member(manager, "old", 2, description=description, status=NodeStatus(state="down"))
    await member(manager, "new", 1)
    await session(manager, "new", description=replace(description, hostname="new"))
    assert record(manager, "new").description.ipv6_addresses == ()
    with manager.store.watch() as changes:
        await manager.remove(old)
        while not record(manager, "new").description.ipv6_addresses:
            await changes.next()
    assert record(manager, "new").description.ipv6_addresses == ("2001:db8::5",)
    assert not refused(manager, "new")


# --- addresses of tasks: other hosts send to them and answer names with them ------------------------------------------


@pytest.fixture
async def tasked(manager: Manager) -> Manager:
    """Give the evil node a task of a service that publishes a port, in a network that a good node is in, too."""
    await member(manager, "evil", 1)
    await member(manager, "good", 2)
    network = Network(
        id="net",
        spec=NetworkSpec(name="net"),
        subnets=(IpamConfig(subnet="10.1.0.0/16"),),
        leases={"evil": "10.1.16.0/24", "good": "10.1.17.0/24"},
    )
    attachments = (NetworkAttachmentConfig(target="net"),)
    spec = ServiceSpec(name="web", task_template=TaskSpec(networks=attachments))
    ports = (PortConfig(target_port=80, published_port=80),)
    await manager.put(network, Service(id="s1", spec=spec, endpoint=Endpoint(ports=ports)))
    for node_id in ("evil", "good"):
        task = Task(
            id=f"t-{node_id}",
            node_id=node_id,
            service_id="s1",
            spec=TaskSpec(networks=attachments),
            status=TaskStatus(state=TaskState.ASSIGNED),
            desired_state=TaskState.RUNNING,
        )
        await manager.put(task)
    return manager


async def report(worker: Worker, **status: object) -> None:
    values: dict[str, object] = {"state": TaskState.RUNNING} | status
    await worker.say(StatusReport(tasks=(TaskReport(task_id="t-evil", status=TaskStatus(**values)),)), 5)  # type: ignore[arg-type]
    await worker.expect(StatusAck, 5)


@pytest.mark.parametrize(
    "addresses",
    [
        {"net": "garbage"},
        {"net": "10.1.17.9"},
        {MESH: "10.240.2.1"},
        {"elsewhere": "10.9.9.9"},
        {"net": "10.1.16.300", MESH: "", "x\n": "y"},
    ],
)
async def test_addresses_that_are_not_a_tasks_own_reach_no_other_host(
    tasked: Manager, addresses: dict[str, str]
) -> None:
    worker, good = await session(tasked), tasked.dial("good")
    await report(worker, addresses={"net": "10.1.16.9", MESH: "10.240.1.9"}, hostname="registry.example.com")
    task = tasked.store.view.tasks.get("t-evil")
    assert task is not None
    assert (task.status.addresses, task.status.hostname) == ({"net": "10.1.16.9", MESH: "10.240.1.9"}, "")
    await report(worker, addresses=addresses, message="again")
    await good.hello()
    (endpoint,) = (await good.expect(Assignments)).endpoints
    assert [backend for backend in endpoint.backends if backend.task_id == "t-evil"] == []
    assert {"TaskStatus.addresses", "TaskStatus.hostname"} <= set(refused(tasked))


@pytest.mark.parametrize("timestamp", [math.nan, math.inf, 1e300, -math.inf])
async def test_times_that_cannot_be_are_never_stored(tasked: Manager, timestamp: float) -> None:
    worker = await session(tasked)
    await report(worker, timestamp=timestamp, err="x\x1b\n" * 10_000)
    task = tasked.store.view.tasks.get("t-evil")
    assert task is not None
    assert abs(task.status.timestamp - tasked.clock.now()) < 60
    assert rfc3339(task.status.timestamp)
    assert len(task.status.err) == 4000
    assert task.status.err.isprintable()


# --- names ------------------------------------------------------------------------------------------------------------


async def test_a_node_with_anothers_name_gets_nothing_meant_for_that(manager: Manager) -> None:
    await member(manager, "evil", 1)
    await member(manager, "vault", 2)
    worker = await session(manager, description=NodeDescription(hostname="vault"))
    await worker.say(NodeReport(description=NodeDescription(hostname="VAULT")))
    await settled(worker)
    constraint = parse("node.hostname==vault")
    assert [node.id for node in manager.store.view.nodes if constraint.matches(node)] == ["vault"]
    assert record(manager).description.hostname == "evil"
    assert "it calls itself 'VAULT' but joined as evil" in refused(manager)["NodeDescription.hostname"]


async def test_a_renamed_node_or_one_with_its_own_name_is_believed(manager: Manager) -> None:
    node = await member(manager, "n1", 1)
    worker = await session(manager, "n1", description=NodeDescription(hostname="new"))
    assert set(refused(manager, "n1")) == {"NodeDescription.hostname"}
    await manager.put(replace(node, spec=NodeSpec(name="new")))
    async with asyncio.timeout(5):
        while refused(manager, "n1"):
            await asyncio.sleep(0)
    await manager.put(replace(record(manager, "n1"), spec=NodeSpec()))
    await worker.say(NodeReport(description=NodeDescription(hostname="n1")))
    await settled(worker)
    assert not refused(manager, "n1")


async def test_a_worker_is_told_its_name_where_it_uses_another(manager: Manager) -> None:
    node = await member(manager, "n1", 1)
    worker = manager.dial("n1")
    await worker.hello(description=NodeDescription(hostname="n1"))
    assert (await worker.expect(Assignments)).hostname == ""
    await manager.put(replace(node, spec=NodeSpec(name="web-3")))
    assert (await worker.expect(Assignments)).hostname == "web-3"
    await manager.put(replace(record(manager, "n1"), spec=NodeSpec()))
    assert (await worker.expect(Assignments)).hostname == "n1"
    other = manager.dial("n1")
    await other.hello(description=NodeDescription(hostname="evil"))
    assert (await other.expect(Assignments)).hostname == "n1"


# --- joining ----------------------------------------------------------------------------------------------------------


def stranger(manager: Manager, source: str = "203.0.113.5") -> Worker:
    return manager.connect(PeerInfo(None, source, "10.0.0.1"))


def request(manager: Manager, **fields: object) -> JoinRequest:
    values: dict[str, object] = {
        "protocol": PROTOCOL_VERSION,
        "token": manager.store.view.cluster.join_tokens.worker,
        "csr": certificate_request(new_key()),
        "clock": manager.clock.now(),
        "hostname": "alpha",
    }
    return JoinRequest(**(values | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"clock": math.nan}, "clock: its clock says nan, which is not a time"),
        ({"clock": math.inf}, "clock: its clock says inf, which is not a time"),
        ({"clock": 1e300}, "which is not a time"),
        ({"advertise_addr": "127.0.0.1"}, "a loopback address"),
        ({"advertise_addr": "192.0.2.2"}, "an address of node vault: .*swarm-manager node rm"),
        ({"hostname": "x\x1b"}, "host name"),
        ({"csr": b"x" * 20_000}, "csr: it has 20,000 bytes"),
    ],
)
async def test_a_join_that_cannot_be_gets_an_answer_that_says_why(
    manager: Manager, fields: dict[str, object], words: str
) -> None:
    await member(manager, "vault", 2)
    host = stranger(manager)
    await host.say(request(manager, **fields), 3)
    answer = await host.expect(Refused)
    assert answer.code == InvalidArgument.code
    assert re.search(words, answer.message)
    assert len(manager.store.view.nodes) == 1


async def test_a_join_with_a_taken_name_gets_nothing_of_the_first(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    await member(manager, "vault", 2)
    host = stranger(manager)
    with caplog.at_level(logging.WARNING):
        await host.say(request(manager, hostname="Vault"), 3)
        joined = await host.expect(JoinReply, 3)
    (warning,) = joined.warnings
    assert "node vault (ready) has the host name Vault already" in warning
    assert f"swarm-manager node update --hostname NAME {joined.node_id}" in warning
    assert warning in caplog.text
    assert record(manager, joined.node_id).hostname_taken
    constraint = parse("node.hostname==vault")
    assert [node.id for node in manager.store.view.nodes if constraint.matches(node)] == ["vault"]


async def test_a_host_that_joins_from_an_unreachable_address_has_none(manager: Manager) -> None:
    host = stranger(manager, "127.0.0.1")
    await host.say(request(manager), 3)
    joined = await host.expect(JoinReply, 3)
    assert record(manager, joined.node_id).status.addr == ""


# --- what is not believed is said once, counted, and forgotten --------------------------------------------------------


async def test_what_is_refused_is_in_the_log_once_and_counted(
    tasked: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await session(tasked)
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            await report(worker, addresses={"net": f"10.1.17.{number + 5}"})
    (entry,) = tasked.dispatcher.soft.refusals.of("evil")
    assert (entry.field, entry.count) == ("TaskStatus.addresses", 20)
    assert "10.1.17.24" in entry.reason
    assert len([line for line in caplog.messages if "evil" in line]) == 1
    await tasked.remove(record(tasked))
    assert not refused(tasked)


async def test_a_reason_for_being_unfit_is_text(manager: Manager) -> None:
    await member(manager, "evil", 1)
    worker = manager.dial("evil")
    await worker.say(Unfit(reason="a\x1b]0;pwned\x07\n" + "b" * 5000), 4)
    await worker.expect(GoodbyeAck, 4)
    message = record(manager).status.message
    assert message.isprintable()
    assert len(message) == 1000

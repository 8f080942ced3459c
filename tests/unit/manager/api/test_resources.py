"""Nodes, tasks, swarm, secrets, configs and networks through the API."""

from typing import Any

import msgspec
import pytest

from common.model import NetworkAttachment, Service, Task, TaskState, TaskStatus
from common.model.attachment import AttachedEnd, AttachmentStatus
from common.model.container import ContainerSpec
from common.model.network import MTU
from common.model.node import NodeStatus
from common.model.service import (
    Endpoint,
    EndpointSpec,
    NetworkAttachmentConfig,
    Placement,
    PortConfig,
    ServiceSpec,
    TaskSpec,
    VirtualIP,
)
from common.model.task import ContainerStatus
from common.wire.messages import MESH
from manager.api.call import Answer, Call
from manager.api.images import registry
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import MANAGER, WORKER1, WORKER2, ApiCluster

RPC = "rpc error: code = {} desc = {}"
OUT_OF_SEQUENCE = (500, RPC.format("Unknown", "update out of sequence"))


async def version(client: Client, path: str) -> int:
    return int((await client.get(path))["Version"]["Index"])


# --- nodes ------------------------------------------------------------------------------------------------------------


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
    index = await version(client, "/nodes/w1")
    body = {"role": "worker", "Availability": "drain", "Labels": {"x": "y"}}
    assert await client.error("POST", f"/nodes/w1/update?version={index - 1}", body) == OUT_OF_SEQUENCE
    assert await client.ask("POST", f"/nodes/w1/update?version={index}", body) == (200, None)
    node = cluster.store.view.nodes.get(WORKER1)
    assert node is not None
    assert (node.spec.availability, node.spec.labels) == ("drain", {"x": "y"})
    read = await version(client, "/nodes/w1")

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
        ("w1", {"Role": "manager"}, 501, "a worker cannot be promoted"),
        ("nope", {"Role": "worker"}, 404, "node nope not found"),
    ],
)
async def test_refused_node_updates(client: Client, node: str, body: Any, status: int, words: str) -> None:
    index = 1 if node == "nope" else await version(client, f"/nodes/{node}")
    answered, message = await client.error("POST", f"/nodes/{node}/update?version={index}", body)
    assert words in message
    assert answered == status


async def test_node_removal(client: Client, cluster: ApiCluster) -> None:
    words = RPC.format("FailedPrecondition", f"node {WORKER1} is not down and can't be removed")
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


# --- tasks ------------------------------------------------------------------------------------------------------------


def add_tasks(tx: Transaction) -> None:
    template = TaskSpec(
        container_spec=ContainerSpec(image="busybox"), networks=(NetworkAttachmentConfig(target="host"),)
    )
    spec = ServiceSpec(name="web", labels={"app": "x"}, task_template=template)
    tx.put(Service(id="s" * 25, spec=spec, spec_version=5))
    for number, (node, state, desired) in enumerate(
        [
            (WORKER1, TaskState.RUNNING, TaskState.RUNNING),
            (WORKER2, TaskState.FAILED, TaskState.SHUTDOWN),
            ("", TaskState.PENDING, TaskState.RUNNING),
        ]
    ):
        status = TaskStatus(
            timestamp=1700000000.5,
            state=state,
            message="m",
            err="e" if state is TaskState.FAILED else "",
            container_status=ContainerStatus(container_id="c", pid=3, exit_code=number) if node else None,
            addresses={MESH: "10.240.1.9"} if node == WORKER1 else {},
            ports=(PortConfig(target_port=80, published_port=8080, publish_mode="host"),) if node == WORKER1 else (),
        )
        tx.put(
            Task(
                id=f"{number}" * 25,
                spec=msgspec.structs.replace(template, force_update=number % 2),
                spec_version=5 - number % 2,
                service_id="s" * 25,
                service_name="web",
                slot=number + 1,
                node_id=node,
                status=status,
                desired_state=desired,
                ports=(PortConfig(target_port=80, published_port=8081),),
            )
        )


@pytest.fixture
async def tasks(cluster: ApiCluster) -> None:
    await cluster.store.update(add_tasks)


@pytest.mark.usefixtures("tasks")
async def test_task_as_the_engine_shows_it(client: Client) -> None:
    task = await client.get(f"/tasks/{'0' * 25}")
    assert task["Spec"]["ContainerSpec"] == {"Image": "busybox", "Isolation": "default"}
    assert (task["Slot"], task["NodeID"], task["DesiredState"]) == (1, WORKER1, "running")
    assert task["Status"] == {
        "Timestamp": "2023-11-14T22:13:20.500000Z",
        "State": "running",
        "Message": "m",
        "ContainerStatus": {"ContainerID": "c", "PID": 3, "ExitCode": 0},
        "PortStatus": {"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}]},
    }
    ingress, host = task["NetworksAttachments"]
    assert ingress["Addresses"] == ["10.240.1.9/12"], "where the mesh reaches it"
    assert ingress["Network"]["Spec"] == {
        "Name": "ingress",
        "Labels": {},
        "DriverConfiguration": {"Name": "overlay"},
        "Scope": "swarm",
        "Ingress": True,
    }
    assert ingress["Network"]["IPAMOptions"]["Configs"] == [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}]
    assert host["Network"]["Spec"]["Name"] == "host"
    pending = await client.get(f"/tasks/{'2' * 25}")
    assert "NodeID" not in pending
    assert "ContainerStatus" not in pending["Status"]
    assert pending["Status"]["PortStatus"] == {}
    (member,) = (await client.get("/networks/ingress"))["Containers"].values()
    assert (member["IPv4Address"], member["Name"][:5]) == ("10.240.1.9/12", "web.1")


@pytest.mark.usefixtures("tasks")
async def test_network_inspect_shows_who_has_it_and_who_is_in_it(client: Client, cluster: ApiCluster) -> None:
    network_id = await client.make("/networks/create", {"Name": "on1", "Driver": "overlay", "Attachable": True})

    def fill(tx: Transaction) -> None:
        network, service, task = tx.networks.get(network_id), tx.services.get("s" * 25), tx.tasks.get("0" * 25)
        assert network is not None
        assert service is not None
        assert task is not None
        tx.put(msgspec.structs.replace(network, leases={WORKER1: "10.1.16.0/24"}))
        ports = (PortConfig(target_port=80, published_port=8081), PortConfig(target_port=81, publish_mode="host"))
        vips = (VirtualIP(network_id="i" * 25, addr="10.0.0.2"), VirtualIP(network_id=network_id, addr="10.1.0.2"))
        tx.put(msgspec.structs.replace(service, endpoint=Endpoint(ports=ports, virtual_ips=vips)))
        addresses = {**task.status.addresses, network_id: "10.1.16.2"}
        tx.put(msgspec.structs.replace(task, status=msgspec.structs.replace(task.status, addresses=addresses)))
        ends = (AttachedEnd(network="orc-on1", network_id=network_id, address="10.1.16.3"),)
        status = AttachmentStatus(running=True, ends=ends)
        tx.put(NetworkAttachment(id="a1", node_id=WORKER1, name="box", container_id="b" * 64, status=status))

    await cluster.store.update(fill)
    host = {"Info": {"Host IP": "10.1.0.2"}}
    task = {"Name": f"web.1.{'0' * 25}", "EndpointID": "0" * 25, "EndpointIP": "10.1.16.2", **host}
    box = {"Name": "box", "EndpointID": "a1", "EndpointIP": "10.1.16.3", **host}
    shown = await client.get("/networks/on1?verbose=true")
    assert shown["Peers"] == [{"Name": "w1", "IP": "10.1.0.2"}]
    assert shown["Services"] == {
        "web": {"VIP": "10.1.0.2", "Ports": [], "LocalLBIndex": 0, "Tasks": [task]},
        "": {"VIP": "<nil>", "Ports": [], "LocalLBIndex": 0, "Tasks": [box]},
    }
    mesh = (await client.get("/networks/ingress?verbose=true"))["Services"]
    assert (list(mesh), mesh["web"]["VIP"], mesh["web"]["Ports"]) == (
        ["web"],
        "10.0.0.2",
        ["Target: 80, Publish: 8081"],
    )
    assert mesh["web"]["Tasks"] == [{**task, "EndpointIP": "10.240.1.9"}]
    assert "Services" not in await client.get("/networks/on1")


async def test_an_unused_network_has_neither_peers_nor_services(client: Client) -> None:
    """As the engine, which leaves them out."""
    await client.make("/networks/create", {"Name": "on1", "Driver": "overlay"})
    assert not {"Peers", "Services"} & (await client.get("/networks/on1?verbose=true")).keys()


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize(
    ("filters", "slots"),
    [
        ("{}", [1, 2, 3]),
        ('{"service":["web"]}', [1, 2, 3]),
        ('{"service":{"sss":true}}', [1, 2, 3]),
        ('{"node":["w1"]}', [1]),
        ('{"service":["web"],"node":["w2"]}', [2]),
        ('{"desired-state":["running"]}', [1, 3]),
        ('{"desired-state":["running","shutdown"]}', [1, 2, 3]),
        ('{"id":["11"]}', [2]),
        ('{"name":["web.3"]}', [3]),
        ('{"name":["db"]}', []),
        ('{"label":["app=x"]}', [1, 2, 3]),
        ('{"label":["app=y"]}', []),
        ('{"_up-to-date":["true"]}', [1, 3]),
        ('{"_up-to-date":["false"]}', [1, 3]),  # as an engine, which does not look at the value
        ('{"runtime":["container"]}', [1, 2, 3]),
    ],
)
async def test_task_filters(client: Client, filters: str, slots: list[int]) -> None:
    assert sorted(task["Slot"] for task in await client.get(f"/tasks?filters={filters}")) == slots


@pytest.mark.usefixtures("tasks")
async def test_a_task_that_a_change_of_placement_leaves_is_up_to_date(client: Client, cluster: ApiCluster) -> None:
    """One with published ports, too: a client that waits for the update would wait for ever."""
    port = PortConfig(target_port=80, published_port=8080)

    def publish(tx: Transaction) -> None:
        service, task = tx.services.get("s" * 25), tx.tasks.get("0" * 25)
        assert service is not None
        assert task is not None
        template = msgspec.structs.replace(
            service.spec.task_template, placement=Placement(constraints=("node.role!=x",)), networks=()
        )
        spec = msgspec.structs.replace(service.spec, task_template=template, endpoint_spec=EndpointSpec(ports=(port,)))
        tx.put(msgspec.structs.replace(service, spec=spec, spec_version=9))
        tx.put(msgspec.structs.replace(task, spec=msgspec.structs.replace(task.spec, networks=()), ports=(port,)))

    await cluster.store.update(publish)
    (task,) = await client.get('/tasks?filters={"_up-to-date":["true"]}')
    assert task["Slot"] == 1


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ('/tasks?filters={"desired-state":["x"]}', 400, "Invalid desired-state filter: 'x'"),
        ('/tasks?filters={"service":["x"]}', 404, "service x not found"),
        ('/tasks?filters={"node":["x"]}', 404, "node x not found"),
        ("/tasks/x", 404, "task x not found"),
        ("/tasks/x/logs?stdout=1", 404, "task x not found"),
        ("/services/x/logs?stdout=1", 404, "service x not found"),
        ("/services/x/logs", 400, "Bad parameters: you must choose at least one stream"),
        ("/services/x/logs?stdout=1&tail=z", 400, 'tail value must be a positive integer or "all"'),
        ("/services/x/logs?stdout=1&since=z", 400, "could not parse since timestamp: 'z'"),
    ],
)
async def test_bad_task_requests(client: Client, path: str, status: int, words: str) -> None:
    answered, message = await client.error("GET", path)
    assert message.startswith(words)
    assert answered == status


# --- swarm ------------------------------------------------------------------------------------------------------------


async def test_swarm(client: Client) -> None:
    swarm = await client.get("/swarm")
    assert swarm["Spec"] == {
        "Name": "default",
        "Labels": {},
        "Orchestration": {"TaskHistoryRetentionLimit": 5},
        "Raft": {
            "SnapshotInterval": 10000,
            "KeepOldSnapshots": 0,
            "LogEntriesForSlowFollowers": 500,
            "ElectionTick": 10,
            "HeartbeatTick": 1,
        },
        "Dispatcher": {"HeartbeatPeriod": 1000000000},
        "CAConfig": {"NodeCertExpiry": 7776000000000000},
        "TaskDefaults": {},
        "EncryptionConfig": {"AutoLockManagers": False},
    }
    assert swarm["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
    assert (swarm["DefaultAddrPool"], swarm["SubnetSize"]) == (["10.0.0.0/8"], 24)


async def test_swarm_update_merges(client: Client, cluster: ApiCluster) -> None:
    before = cluster.store.view.cluster
    body = {"Name": "default", "orchestration": {"TaskHistoryRetentionLimit": 0}, "Raft": {"KeepOldSnapshots": 0}}
    body["DataPathPort"] = 7777  # no part of a spec: it stays as it was at init
    path = f"/swarm/update?version={before.version.index}&rotateWorkerToken=True"
    assert await client.ask("POST", path, body) == (200, None)
    after = cluster.store.view.cluster
    assert after.spec.orchestration.task_history_retention_limit == 0
    assert after.spec.raft == before.spec.raft
    assert after.data_path_port == before.data_path_port
    assert after.join_tokens.manager == before.join_tokens.manager
    old, new = before.join_tokens.worker, after.join_tokens.worker
    assert old != new
    assert new.startswith(f"SWMTKN-1-{cluster.authority.digest}-")
    assert len(old) == len(new)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"EncryptionConfig": {"AutoLockManagers": True}}, 501, "AutoLockManagers is not supported"),
        ({"CAConfig": {"NodeCertExpiry": 1}}, 400, "minimum certificate expiry time is: 1h0m0s"),
        ({"CAConfig": {"ForceRotate": 1}}, 501, "rotating the root certificate"),
        ({"Orchestration": {"TaskHistoryRetentionLimit": -1}}, 400, "TaskHistoryRetentionLimit"),
        ({"Dispatcher": {"HeartbeatPeriod": -1}}, 400, "cannot be a negative duration"),
        ({"Dispatcher": 3}, 400, "Dispatcher: expected object, got int"),
        ([], 400, "expected an object"),
    ],
)
async def test_refused_swarm_updates(client: Client, cluster: ApiCluster, body: Any, status: int, words: str) -> None:
    index = cluster.store.view.cluster.version.index
    answered, message = await client.error("POST", f"/swarm/update?version={index}", body)
    assert words in message
    assert answered == status


async def test_swarm_membership(client: Client, cluster: ApiCluster) -> None:
    already = 'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
    status, message = await client.error("POST", "/swarm/init", {})
    assert status == 503
    assert message.startswith(already)
    assert "swarm-manager join-token worker" in message
    status, message = await client.error("POST", "/swarm/join", {"RemoteAddrs": ["1.2.3.4:2377"]})
    assert status == 503
    assert message.startswith(already)
    assert "swarm-worker join" in message
    status, message = await client.error("POST", "/swarm/leave")
    assert status == 503
    assert "participating as a manager" in message
    assert "swarm-worker leave" in message
    assert not cluster.left
    for query in ("", "&cluster=", f"&cluster={'x' * 25}"):
        status, message = await client.error("POST", f"/swarm/leave?force=true{query}")
        assert (status, "run 'swarm-manager leave --force'" in message) == (409, True)
    assert not cluster.left, "a test's tear-down ends no cluster"
    assert await client.ask("POST", f"/swarm/leave?force=true&cluster={'c' * 25}") == (200, None)
    assert cluster.left
    assert await client.get("/swarm/unlockkey") == {"UnlockKey": ""}
    assert await client.error("POST", "/swarm/unlock", {"UnlockKey": "x"}) == (409, "swarm is not locked")


async def test_outside_a_swarm(client: Client, cluster: ApiCluster) -> None:
    await cluster.store.update(lambda tx: tx.remove(tx.cluster))
    for method, path, body in [
        ("GET", "/swarm", None),
        ("GET", "/nodes", None),
        ("GET", "/services", None),
        ("GET", "/services/x", None),
        ("GET", "/tasks", None),
        ("GET", "/secrets", None),
        ("POST", "/configs/create", {"Name": "x", "Data": "eA=="}),
        ("POST", "/services/create", {"Name": "x"}),
        ("GET", "/swarm/unlockkey", None),
    ]:
        status, message = await client.error(method, path, body)
        assert (status, message[:35]) == (503, "This node is not a swarm manager. R"), path
    assert (await client.get("/info"))["Swarm"]["LocalNodeState"] == "inactive"


# --- secrets and configs ----------------------------------------------------------------------------------------------

KINDS = [("secrets", "secret", 512000), ("configs", "config", 1024000)]


@pytest.mark.parametrize(("path", "noun", "size"), KINDS)
async def test_files(client: Client, path: str, noun: str, size: int) -> None:
    body = {"Name": "s1", "Data": "aHVzaA==", "Labels": {"a": "b"}}
    file_id = await client.make(f"/{path}/create", body)
    words = RPC.format("AlreadyExists", f"{noun} s1 already exists")
    assert await client.error("POST", f"/{path}/create", body) == (409, words)
    for reference in (file_id, file_id[:8], "s1"):
        assert (await client.get(f"/{path}/{reference}"))["ID"] == file_id
    [shown] = await client.get(f'/{path}?filters={{"name":["s"],"label":["a=b"]}}')
    data = {} if noun == "secret" else {"Data": "aHVzaA=="}
    assert shown["Spec"] == {"Name": "s1", "Labels": {"a": "b"}, **data}
    assert await client.get(f'/{path}?filters={{"names":["s"]}}') == []
    assert await client.ask("DELETE", f"/{path}/s1") == (204, None)
    assert await client.error("DELETE", f"/{path}/s1") == (404, f"{noun} s1 not found")


@pytest.mark.parametrize(("path", "noun", "size"), KINDS)
async def test_bad_files(client: Client, path: str, noun: str, size: int) -> None:
    words = RPC.format("InvalidArgument", f"{noun} data must be larger than 0 and less than {size} bytes")
    assert await client.error("POST", f"/{path}/create", {"Name": "s"}) == (400, words)
    big = {"Name": "s", "Data": "QUFB" * (size // 3 + 1)}
    assert await client.error("POST", f"/{path}/create", big) == (400, words)
    for name in ("a b", "-a", "a" * 65, "ä"):
        status, message = await client.error("POST", f"/{path}/create", {"Name": name, "Data": "eA=="})
        assert (status, "invalid name, only 64" in message) == (400, True), name
    status, message = await client.error("POST", f"/{path}/create", {"Data": "eA=="})
    assert (status, message) == (400, RPC.format("InvalidArgument", "name must be provided"))


@pytest.mark.parametrize(("path", "noun", "size"), KINDS)
async def test_only_labels_of_files_change(client: Client, path: str, noun: str, size: int) -> None:
    del size
    await client.make(f"/{path}/create", {"Name": "s1", "Data": "aHVzaA=="})
    index = await version(client, f"/{path}/s1")
    target = f"/{path}/s1/update?version={index}"
    only = RPC.format("InvalidArgument", "only updates to Labels are allowed")
    for body in ({}, {"Name": "other"}, {"Name": "other", "Data": "eA=="}):
        assert await client.error("POST", target, body) == (400, only)
    status, message = await client.error("POST", target, {"Name": "s1", "Templating": {"Name": "x"}})
    assert (status, "Data and Templating together" in message) == (400, True)
    assert await client.error("POST", f"/{path}/s1/update", {"Name": "s1"}) == (400, f"invalid {noun} version")
    assert await client.error("POST", f"/{path}/x/update?version=1", {}) == (404, f"{noun} x not found")
    assert await client.ask("POST", target, {"Name": "s1", "Labels": {"z": "1"}}) == (200, None)
    assert (await client.get(f"/{path}/s1"))["Spec"]["Labels"] == {"z": "1"}
    assert await client.error("POST", target, {"Name": "s1"}) == OUT_OF_SEQUENCE
    assert await client.error("POST", target, {"Name": "other"}) == (400, only), "what it asks for is judged first"


@pytest.mark.parametrize(("path", "noun", "size"), KINDS)
async def test_files_in_use_stay(client: Client, path: str, noun: str, size: int) -> None:
    del size
    file_id = await client.make(f"/{path}/create", {"Name": "s1", "Data": "aHVzaA=="})
    key = noun.capitalize()
    reference = {f"{key}ID": file_id, f"{key}Name": "s1", "File": {"Name": "s1"}}
    container = {"Image": "busybox", f"{key}s": [reference]}
    await client.make("/services/create", {"Name": "web", "TaskTemplate": {"ContainerSpec": container}})
    words = RPC.format("InvalidArgument", f"{noun} 's1' is in use by the following service: web")
    assert await client.error("DELETE", f"/{path}/s1") == (400, words)
    await client.ask("DELETE", "/services/web")
    assert await client.ask("DELETE", f"/{path}/s1") == (204, None)


async def test_drivers_of_secrets_are_refused(client: Client) -> None:
    status, message = await client.error("POST", "/secrets/create", {"Name": "s", "Driver": {"Name": "d"}})
    assert (status, "secret drivers are not supported" in message) == (501, True)


# --- networks ---------------------------------------------------------------------------------------------------------


async def test_networks(client: Client) -> None:
    body = {
        "Name": "on1",
        "Driver": "overlay",
        "Internal": True,
        "Attachable": True,
        "Labels": {"a": "b"},
        "Options": {"color": "blue"},
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.99.0.0/24", "Gateway": "10.99.0.7"}]},
    }
    network_id = await client.make("/networks/create", body)
    network = await client.get("/networks/on1")
    assert network["Id"] == network_id
    assert network["IPAM"] == {
        "Driver": "default",
        "Options": None,
        "Config": [{"Subnet": "10.99.0.0/24", "Gateway": "10.99.0.7"}],
    }
    assert (network["Internal"], network["Attachable"], network["Ingress"]) == (True, True, False)
    assert network["Options"] == {"color": "blue", "com.docker.network.driver.overlay.vxlanid_list": "4097"}
    assert await client.get("/networks/") == await client.get("/networks"), "as engines do"
    assert [n["Name"] for n in await client.get("/networks")] == ["ingress", "on1", "bridge", "host", "none"]


async def test_a_dual_stack_network_has_a_range_of_each_family(client: Client) -> None:
    body = {"Name": "on1", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd00:1::/64"}]}}
    await client.make("/networks/create", body)
    network = await client.get("/networks/on1")
    assert (network["EnableIPv4"], network["EnableIPv6"]) == (True, True)
    chosen, given = network["IPAM"]["Config"]
    assert chosen["Subnet"].startswith("10.")
    assert given == {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::1"}


async def test_a_network_without_ipv4_is_refused(client: Client) -> None:
    body = {"Name": "on1", "EnableIPv4": False, "EnableIPv6": True}
    status, message = await client.error("POST", "/networks/create", body)
    assert (status, "networks without IPv4 are not supported" in message) == (501, True)
    await client.make("/networks/create", {**body, "EnableIPv4": True})


async def test_an_ipv6_subnet_of_a_network_without_ipv6_is_refused(client: Client) -> None:
    body = {"Name": "on1", "IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}
    status, message = await client.error("POST", "/networks/create", body)
    assert (status, "give --ipv6 too" in message) == (400, True)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ('{"scope":["swarm"]}', ["ingress", "on1"]),
        ('{"name":["n1"]}', ["on1"]),
        ('{"type":["custom"]}', ["on1"]),
        ('{"type":["builtin"]}', ["ingress", "bridge", "host", "none"]),
        ('{"driver":["host"]}', ["host"]),
        ('{"label":["a=b"]}', ["on1"]),
        ('{"dangling":["true"]}', ["on1"]),
        ('{"dangling":["false"]}', ["ingress", "bridge", "host", "none"]),
    ],
)
async def test_network_filters(client: Client, filters: str, names: list[str]) -> None:
    await client.make("/networks/create", {"Name": "on1", "Driver": "overlay", "Labels": {"a": "b"}})
    assert [n["Name"] for n in await client.get(f"/networks?filters={filters}")] == names


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"Name": ""}, 400, "invalid name: "),
        ({"Name": "a b"}, 400, RPC.format("InvalidArgument", "name must be valid as a DNS name component")),
        ({"Name": "host"}, 409, "network with name host already exists"),
        ({"Name": "ingress"}, 409, "network with name ingress already exists"),
        ({"Name": "x", "Ingress": True}, 409, f"ingress network ({'i' * 25}) is already present"),
        ({"Name": "x", "Driver": "macvlan"}, 501, "network driver 'macvlan' is not supported: use overlay"),
        ({"Name": "x", "ConfigOnly": True}, 501, "configuration-only networks are not supported"),
        ({"Name": "x", "IPAM": {"Driver": "x"}}, 501, "IPAM driver 'x' is not supported"),
        ({"Name": "x", "Options": {MTU: "big"}}, 400, f"Options.{MTU}: expected 68 to 65535 bytes, got 'big'"),
        ({"Name": "x", "Options": {MTU: "67"}}, 400, "expected 68 to 65535 bytes, got '67'"),
        ({"Name": "x", "EnableIPv6": True, "Options": {MTU: "1279"}}, 400, "expected 1280 to 65535 bytes"),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "nope"}]}},
            400,
            "invalid network config:\ninvalid subnet nope: invalid CIDR block notation",
        ),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.99.0.5/24"}]}},
            400,
            "invalid network config:\ninvalid subnet 10.99.0.5/24: it should be 10.99.0.0/24",
        ),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.99.0.0"}]}}, 400, "invalid CIDR block notation"),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "IPRange": "10.8.0.0/25"}]}},
            400,
            "it is not within the subnet 10.9.0.0/24",
        ),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "IPRange": "z"}]}}, 400, "invalid ip-range z"),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "z"}]}}, 400, "invalid gateway z"),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.8.0.1"}]}},
            400,
            "invalid gateway 10.8.0.1: parent subnet is 10.9.0.0/24",
        ),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": f"10.{n}.0.0/24"} for n in (8, 9)]}},
            400,
            "at most one IPv4 and one IPv6 subnet",
        ),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.0.0.0/25"}]}}, 400, "overlaps"),
    ],
)
async def test_bad_networks(client: Client, body: Any, status: int, words: str) -> None:
    answered, message = await client.error("POST", "/networks/create", body)
    assert words in message
    assert answered == status


@pytest.mark.parametrize(
    "asked",
    [
        {"Driver": "bridge", "Scope": ""},
        {"Driver": "bridge", "Scope": "swarm"},
        {"Driver": "", "Attachable": False},  # docker compose
        {"Driver": None},  # docker-py, testcontainers
        {},
    ],
)
async def test_a_bridge_becomes_an_attachable_overlay_with_a_warning(client: Client, asked: dict[str, Any]) -> None:
    status, answer = await client.ask("POST", "/networks/create", {"Name": "br", **asked})
    assert status == 201
    assert "spans the cluster" in answer["Warning"]
    network = await client.get("/networks/br")
    # What was asked for by its name is shown by it: Ansible makes a network anew whose driver is another one.
    assert network["Driver"] == (asked.get("Driver") or "overlay")
    assert (network["Scope"], network["Attachable"]) == ("swarm", True)
    (listed,) = await client.get('/networks?filters={"name":["br"],"type":["custom"]}')
    assert listed["Driver"] == network["Driver"]


async def test_a_driverless_ingress_network_is_not_a_container_network(client: Client) -> None:
    await client.ask("DELETE", "/networks/ingress")
    _, answer = await client.ask("POST", "/networks/create", {"Name": "mesh", "Ingress": True})
    assert (answer["Warning"], (await client.get("/networks/mesh"))["Attachable"]) == ("", False)


async def test_network_removal(client: Client) -> None:
    network = await client.make("/networks/create", {"Name": "on1", "Driver": "overlay"})
    template = {"ContainerSpec": {"Image": "busybox"}, "Networks": [{"Target": "on1"}]}
    ports = {"Ports": [{"TargetPort": 80, "PublishedPort": 80}]}
    service = await client.make("/services/create", {"Name": "w", "TaskTemplate": template, "EndpointSpec": ports})
    words = RPC.format("FailedPrecondition", f"network {network} is in use by service {service} (w)")
    assert await client.error("DELETE", "/networks/on1") == (400, words)
    words = f"ingress network cannot be removed because service {service} depends on it"
    assert await client.error("DELETE", "/networks/ingress") == (400, RPC.format("FailedPrecondition", words))
    words = "host is a pre-defined network and cannot be removed"
    assert await client.error("DELETE", "/networks/host") == (403, words)
    assert await client.error("DELETE", "/networks/x") == (404, "network x not found")
    assert await client.ask("POST", "/networks/prune") == (200, {"NetworksDeleted": None})
    await client.ask("DELETE", "/services/w")
    assert await client.ask("POST", '/networks/prune?filters={"until":["1h"]}') == (200, {"NetworksDeleted": None})
    assert await client.ask("POST", '/networks/prune?filters={"label":["x"]}') == (200, {"NetworksDeleted": None})
    assert await client.ask("POST", '/networks/prune?filters={"label!":["x"]}') == (200, {"NetworksDeleted": ["on1"]})
    assert await client.ask("DELETE", "/networks/ingress") == (204, None)


async def test_predefined_networks(client: Client) -> None:
    host = await client.get("/networks/host")
    assert (host["Name"], host["Driver"], host["Scope"]) == ("host", "host", "local")
    assert (await client.get("/networks/none"))["Driver"] == "null"
    assert (await client.get("/networks/host?scope=swarm"))["Scope"] == "swarm"
    assert (await client.get(f"/networks/{host['Id']}"))["Name"] == "host"


# --- the whole --------------------------------------------------------------------------------------------------------


async def test_info(client: Client) -> None:
    info = await client.get("/info")
    assert (info["NCPU"], info["MemTotal"]) == (4, 8 << 30)
    swarm = info["Swarm"]
    assert (swarm["NodeID"], swarm["Nodes"], swarm["Managers"]) == (MANAGER, 3, 1)
    assert swarm["RemoteManagers"] == [{"NodeID": MANAGER, "Addr": "10.1.0.1:2377"}]
    assert "JoinTokens" not in swarm["Cluster"]


async def test_info_adds_up_what_the_engines_say(client: Client, cluster: ApiCluster) -> None:
    info = await client.get("/info")
    assert (info["Containers"], info["ContainersRunning"], info["Images"]) == (6, 4, 10)
    assert (info["Driver"], info["CgroupVersion"], info["DefaultRuntime"]) == ("overlay2", "2", "runc")
    assert (info["DockerRootDir"], info["SecurityOptions"]) == ("/var/lib/docker", ["name=seccomp,profile=builtin"])
    assert (info["Name"], info["Labels"], info["Warnings"]) == (cluster.api.context.host.hostname, [], None)
    await cluster.engines.engines.pop(WORKER1).stop()
    info = await client.get("/info")
    assert (info["Containers"], info["Images"], info["Driver"]) == (3, 5, "overlay2")
    assert info["Warnings"] == [f"node w1: node {WORKER1} is not connected"]


@pytest.mark.parametrize(("release", "builder"), [("20.10.24", "1"), ("26.1.5+dfsg1", "2"), ("dev", "2")])
async def test_clients_build_with_what_the_builder_prefers(
    client: Client, cluster: ApiCluster, release: str, builder: str
) -> None:
    def install(tx: Transaction) -> None:
        for node in list(tx.nodes):
            engine = msgspec.structs.replace(node.description.engine, engine_version=release)
            description = msgspec.structs.replace(node.description, engine=engine)
            tx.put(msgspec.structs.replace(node, description=description))

    await cluster.store.update(install)
    reply = await cluster.api.answer(Call("HEAD", "/_ping", caller=ADMIN))
    assert isinstance(reply, Answer)
    assert reply.headers["Builder-Version"] == builder


async def test_disk_usage_adds_up(client: Client, cluster: ApiCluster) -> None:
    usage = await client.get("/system/df")
    assert (usage["LayersSize"], len(usage["Images"])) == (200, 2)
    await cluster.engines.engines.pop(WORKER1).stop()
    assert (await client.get("/system/df"))["LayersSize"] == 100


async def test_distribution(client: Client, cluster: ApiCluster) -> None:
    status, message = await client.error("GET", "/distribution/busybox/json")
    assert (status, "run 'swarm-worker join' there" in message) == (503, True), "no other node is asked"
    await cluster.join_own_host()
    assert (await client.get("/distribution/busybox:latest/json"))["Descriptor"]["digest"].startswith("sha256:")
    status, _ = await client.ask("GET", "/distribution/other/json")
    assert status == 500
    status, message = await client.error("GET", "/distribution/UP/json")
    assert (status, message[:24]) == (400, "invalid reference format")


async def test_a_silent_registry_is_given_up(
    client: Client, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "DIGEST_SECONDS", 0.05)
    await cluster.join_own_host()
    status, message = await client.error("GET", "/distribution/silent/json")
    assert (status, message) == (503, "no registry answered within 0.05 s")


async def test_unexpected_failures_are_numbered_and_say_nothing_else(
    client: Client, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down() -> Any:
        raise ZeroDivisionError("the inside")

    monkeypatch.setattr(cluster.clock, "now", break_down)
    status, message = await client.error("GET", "/info")
    assert status == 500
    assert "ZeroDivisionError" not in message
    assert "the inside" not in message
    incident = message.split()[3].rstrip(":")
    assert any(incident in record.getMessage() and record.exc_info for record in caplog.records)

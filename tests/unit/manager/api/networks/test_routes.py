"""Networks through the API."""

from typing import Any

import msgspec
import pytest

from common.model import Network, NetworkAttachment
from common.model.attachment import AttachedEnd, AttachmentStatus
from common.model.network import MTU
from common.model.service import Endpoint, PortConfig, VirtualIP
from manager.store.transaction import Transaction
from tests.fakes.api_client import RPC, Client
from tests.fakes.api_cluster import WORKER1, ApiCluster


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

"""A cluster of two nodes as the intake sees it: who has which numbers, parts of networks, tasks and containers."""

from __future__ import annotations

from typing import TypeVar

from common.model import Cluster, Network, NetworkAttachment, Node, Service, StoredObject, Task, TaskState, TaskStatus
from common.model.attachment import AttachedNetwork
from common.model.container import ContainerSpec
from common.model.network import IpamConfig, NetworkSpec
from common.model.node import NodeDescription, NodeStatus
from common.model.service import NetworkAttachmentConfig, PortConfig, ServiceSpec, TaskSpec
from common.net.addressing import cluster_pools, gateway_range, mesh_prefix, with_ipv4
from common.wire.message import Message
from manager.dispatch.intake.form import MessageContext
from manager.dispatch.intake.messages import validate
from manager.store.tables import Tables
from manager.store.transaction import Transaction

NOW = 1_700_000_000.0
POOL = "10.0.0.0/8"
OWN, OTHER = "n1", "n2"
NET, FOREIGN = "net", "foreign"
# An address in each node's part of the network, and at each node's gateway.
IN_OWN, IN_OTHER = "10.1.16.9", "10.1.17.9"
MESH_OWN, MESH_OTHER = "10.240.1.9", "10.240.2.9"
SUBNET6 = "fd00:1::/64"
CONTAINER = "c" * 64

M = TypeVar("M", bound=Message)


def node(node_id: str, number: int, **fields: object) -> Node:
    values: dict[str, object] = {
        "description": NodeDescription(hostname=f"host-{number}", ipv6_addresses=(f"2001:db8::{number}",)),
        "status": NodeStatus(state="ready", addr=f"192.0.2.{number}"),
        "number": number,
        "agent": True,
        "certificate_serials": ("7",),
    }
    return Node(id=node_id, **(values | fields))  # type: ignore[arg-type]


def network(network_id: str, subnet: str, **leases: str) -> Network:
    return Network(
        id=network_id,
        spec=NetworkSpec(name=f"{network_id}work"),
        subnets=(IpamConfig(subnet=subnet), IpamConfig(subnet=SUBNET6)),
        leases=leases,
    )


def task(task_id: str, node_id: str = OWN, **container: object) -> Task:
    return Task(
        id=task_id,
        node_id=node_id,
        service_id="s1",
        service_name="web",
        slot=1,
        spec_version=5,
        spec=TaskSpec(
            container_spec=ContainerSpec(image="web:1", **container),  # type: ignore[arg-type]
            networks=(NetworkAttachmentConfig(target=NET),),
        ),
        ports=(
            PortConfig(target_port=80, published_port=8080, publish_mode="host"),
            PortConfig(target_port=53, protocol="udp", publish_mode="host"),
            PortConfig(target_port=443, published_port=8443),
        ),
        status=TaskStatus(state=TaskState.ASSIGNED),
        desired_state=TaskState.RUNNING,
        created_at=NOW - 100,
    )


def attachment(attachment_id: str = "a1", node_id: str = OWN, **fields: object) -> NetworkAttachment:
    values: dict[str, object] = {
        "name": "box",
        "networks": (AttachedNetwork(target=NET, aliases=("alias",)),),
    }
    return NetworkAttachment(id=attachment_id, node_id=node_id, **(values | fields))  # type: ignore[arg-type]


def objects() -> tuple[StoredObject, ...]:
    return (
        Cluster(id="cluster1", default_addr_pool=(POOL,)),
        node(OWN, 1),
        node(OTHER, 2),
        network(NET, "10.1.0.0/16", n1="10.1.16.0/24", n2="10.1.17.0/24"),
        network(FOREIGN, "10.2.0.0/16", n1="10.2.16.0/24", n2="10.2.17.0/24"),
        Service(id="s1", spec=ServiceSpec(name="web", task_template=TaskSpec())),
        task("t1"),
        task("t2", OTHER),
        attachment(),
        attachment("a2", OTHER, name="other"),
    )


def world(*more: StoredObject) -> Tables:
    """Return the cluster, with these objects too, or in the place of its own."""
    tables = Tables()
    tx = Transaction(tables, NOW)
    for value in (*objects(), *more):
        tx.put(value)
    tx.merge()
    return tables


def validated(
    message: M, *more: StoredObject, node_id: str = OWN, source: str = "", loopback: bool = False
) -> tuple[M | None, dict[str, str]]:
    """Take a message of a node; return what is believed, and why what is refused, by its field."""
    view = world(*more)
    context = MessageContext(view, NOW, view.nodes.get(node_id), source, loopback)
    return validate(message, context), {each.field: each.reason for each in context.refusals}


def mesh6(address: str) -> str:
    """Return the IPv6 address that goes with one at a gateway."""
    from ipaddress import IPv4Address

    prefix = mesh_prefix(cluster_pools("cluster1", (POOL,)))
    assert prefix is not None
    return str(with_ipv4(prefix, IPv4Address(address)))


assert MESH_OWN.startswith(gateway_range((POOL,), 1).rpartition(".")[0])

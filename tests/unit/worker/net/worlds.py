"""Small worlds for the data plane: a network on three nodes, and services on it."""

from ipaddress import IPv4Network, IPv6Address
from typing import Any

from common.model.network import IpamConfig, Network, NetworkSpec
from common.wire.messages import MESH, MESH6, Backend, Peer, PublishedPort, ServiceEndpoint
from worker.assignments import AssignmentSet
from worker.intake.addresses import IPAddress, address
from worker.intake.network import NetworkIntake
from worker.intake.world import NetworkWorld
from worker.net.plan.topology import HostFacts

NODE = "node1"
POOLS = ("10.0.0.0/8",)
# With IPv6: what tunnels and gateways have is in the pool's last /96.
POOLS6 = ("10.0.0.0/8", "fd00:20::/48")
MESH_PREFIX = "fd00:20:0:ffff:ffff:ffff:"
BLUE = "blue" + "0" * 21
RED = "red" + "0" * 22


def network(network_id: str = BLUE, subnet: str = "10.1.0.0/16", subnet6: str = "", **spec: Any) -> Network:
    first = IPv4Network(subnet).network_address
    leases = {f"node{i}": f"{first + 4096 + 256 * (i - 1)}/24" for i in (1, 2, 3)}
    name = network_id.rstrip("0")
    return Network(
        id=network_id,
        spec=NetworkSpec(name=name, **spec),
        subnets=(
            IpamConfig(subnet=subnet, gateway=str(first + 1)),
            *([IpamConfig(subnet=subnet6)] if subnet6 else ()),
        ),
        leases=leases,
    )


def backend(number: int, node: int = 1, network_id: str = BLUE, *, ipv6: bool = False) -> Backend:
    addresses = {network_id: f"10.1.{15 + node}.{number}", MESH: f"10.240.{node}.{number}"}
    if ipv6:
        addresses[MESH6] = mesh6(node, number)
    return Backend(task_id=f"t{number}", slot=number, node_id=f"node{node}", addresses=addresses)


def mesh6(node: int, number: int) -> str:
    """Return the IPv6 address of a task in its node's gateway network."""
    return str(IPv6Address(f"{MESH_PREFIX}af0:{node:x}{number:02x}"))


def endpoint(*backends: Backend, name: str = "web", vip: str = "10.1.0.9", **more: Any) -> ServiceEndpoint:
    return ServiceEndpoint(
        service_id=f"id{name}", name=name, vips={BLUE: vip} if vip else {}, backends=backends, **more
    )


def port(published: int = 8080, target: int = 80, protocol: str = "tcp", host_ip: str = "") -> PublishedPort:
    return PublishedPort(protocol=protocol, published=published, target=target, host_ip=host_ip)


def world(
    *endpoints: ServiceEndpoint,
    networks: tuple[Network, ...] | None = None,
    intake: NetworkIntake | None = None,
    **more: Any,
) -> NetworkWorld:
    """Return the world as a worker takes it in; with the same `intake`, what is the same as before is the very same."""
    there = (network(),) if networks is None else networks
    peers = {f"node{i}": Peer(node_id=f"node{i}", number=i, addr=f"192.168.7.{i}") for i in (2, 3)}
    found = {
        "node_number": 1,
        "address_pools": POOLS,
        "networks": {each.id: each for each in there},
        "endpoints": {each.service_id: each for each in endpoints},
        "peers": peers,
        **more,
    }
    return (intake or NetworkIntake(NODE)).world(AssignmentSet(**found))


def facts(**more: Any) -> HostFacts:
    return HostFacts(**{"node_id": NODE, "address": "192.168.7.1", "encrypts": True, **more})


def ips(*texts: str) -> tuple[IPAddress, ...]:
    return tuple(map(address, texts))


def packed(*texts: str) -> tuple[bytes, ...]:
    return tuple(address(text).packed for text in texts)

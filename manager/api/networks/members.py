"""What `network inspect` shows beside the network itself: the nodes that have it, and with `--verbose` who is in it.

Pure. The shape is that of the engine's `NetworkInspect`: `Peers`, and `Services` by name, unmanaged containers under
the empty one, as an engine has them.
"""

from __future__ import annotations

from typing import Any

from common.model import Network, NetworkAttachment, Node, Service, Task, TaskState
from manager.api.networks.view import (
    task_address,
)
from manager.store.view import View

# What the engine's own code prints for an address that is not there.
_NO_ADDRESS = "<nil>"


def peers_view(view: View, network: Network) -> list[dict[str, str]]:
    """List the nodes that have a part of a network; of the ingress network, all that are in the data plane."""
    peers = [node for node in view.nodes if (node.number if network.spec.ingress else node.id in network.leases)]
    return [{"Name": node.name or node.id, "IP": node.status.addr} for node in peers]


def services_view(view: View, network: Network) -> dict[str, dict[str, Any]]:
    """Return a network's services, with virtual address and running tasks, and its unmanaged containers."""
    found: dict[str, dict[str, Any]] = {}
    for service in view.services:
        tasks = [each for task in view.tasks.of_service(service.id) if (each := _task(view, task, network)) is not None]
        if tasks:
            found[service.name] = _entry(_virtual_address(service, network), _ports(service, network), tasks)
    plain = [each for attachment in view.attachments if (each := _plain(view, attachment, network)) is not None]
    if plain:
        found[""] = _entry(_NO_ADDRESS, [], plain)
    return found


def _entry(address: str, ports: list[str], tasks: list[dict[str, Any]]) -> dict[str, Any]:
    # The index is that of a load balancer in one host's kernel, which does not exist here.
    return {"VIP": address, "Ports": ports, "LocalLBIndex": 0, "Tasks": tasks}


def _virtual_address(service: Service, network: Network) -> str:
    addresses = service.endpoint.virtual_ips if service.endpoint is not None else ()
    return next((vip.addr for vip in addresses if vip.network_id == network.id), _NO_ADDRESS)


def _ports(service: Service, network: Network) -> list[str]:
    """Return the ports of the routing mesh, which are the ingress network's."""
    ports = service.endpoint.ports if network.spec.ingress and service.endpoint is not None else ()
    return [
        f"Target: {port.target_port}, Publish: {port.published_port}"
        for port in ports
        if port.publish_mode == "ingress"
    ]


def _task(view: View, task: Task, network: Network) -> dict[str, Any] | None:
    address = task_address(view, task, network)
    if task.status.state is not TaskState.RUNNING or not address:
        return None
    return _member(task.name, task.id, address, view.nodes.get(task.node_id))


def _plain(view: View, attachment: NetworkAttachment, network: Network) -> dict[str, Any] | None:
    end = attachment.end_in(network.id)
    if not attachment.live or not attachment.status.running or end is None:
        return None
    return _member(attachment.name, attachment.id, end.address, view.nodes.get(attachment.node_id))


def _member(name: str, record_id: str, address: str, node: Node | None) -> dict[str, Any]:
    host = node.status.addr if node is not None else ""
    return {"Name": name, "EndpointID": record_id, "EndpointIP": address.partition("/")[0], "Info": {"Host IP": host}}

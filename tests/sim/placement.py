"""Where tasks may be, in other words than the manager's: what a node has is enough, and a new task is let in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network
from typing import TypeAlias

from common.model import Network, Node, Service, Task, TaskState
from common.model.service import GenericResource, PortConfig, Reservations
from common.spec.constraints import unmet
from manager.store.changes import ChangeSet
from manager.store.view import View

# What is wrong, and the tasks whose stories tell it.
Complaint: TypeAlias = tuple[str, Sequence[Task]]


# How many nodes a network of this subnet has parts for.
PARTS = {"10.1.0.0/28": 1, "10.1.0.0/27": 2, "10.1.0.0/26": 4}


def misplaced(view: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Complain of nodes that are too full, and of tasks that were given a node which may not take them."""
    tasks = [change.current for change in changes.changes if isinstance(change.current, Task)]
    for node_id in dict.fromkeys(task.node_id for task in tasks if task.node_id):
        node = view.nodes.get(node_id)
        if node is not None:
            yield from _overbooked(view, node)
    for change in changes.changes:
        old, new = change.old, change.new
        if isinstance(old, Task) and isinstance(new, Task) and old.status.state < TaskState.ASSIGNED and _holds(new):
            yield from _let_in(view, new)


def _overbooked(view: View, node: Node) -> Iterator[Complaint]:
    placed = [task for task in view.tasks.on_node(node.id) if _holds(task)]
    has = node.description.resources
    for what, total, limit in (
        ("bytes", sum(_reserves(task).memory_bytes for task in placed), has.memory_bytes),
        ("billionths of a core", sum(_reserves(task).nano_cpus for task in placed), has.nano_cpus),
    ):
        if total > limit:
            yield f"{total} {what} are reserved on {node.id}, more than its {limit}", placed
    given = Counter[tuple[str, str]]()
    for task in placed:
        given.update(things(task.generic_resources))
        if _kinds(task.generic_resources) != _kinds(_reserves(task).generic_resources):
            yield f"{task.id} is given {task.generic_resources}", [task]
    if given - things(has.generic_resources):
        yield f"{node.id} has not {dict(given - things(has.generic_resources))} for its tasks", placed


def things(resources: Sequence[GenericResource]) -> Counter[tuple[str, str]]:
    """Count each thing by its kind and name; what is only counted has no name."""
    found = Counter[tuple[str, str]]()
    for each in resources:
        if (thing := each.named_resource_spec) is not None:
            found[thing.kind, thing.value] += 1
        if (count := each.discrete_resource_spec) is not None:
            found[count.kind, ""] += count.value
    return found


def _kinds(resources: Sequence[GenericResource]) -> Counter[str]:
    kinds = Counter[str]()
    for (kind, _), count in things(resources).items():
        kinds[kind] += count
    return kinds


def _let_in(view: View, task: Task) -> Iterator[Complaint]:
    """Check a task against its node just after it was placed there."""
    node = view.nodes.get(task.node_id)
    if node is None:
        return  # it was removed meanwhile
    placement = task.spec.placement
    if node.spec.availability == "drain" and not task.slot:
        yield f"{task.id} is given the drained node {node.id}", [task]
    if broken := unmet(placement, node):
        yield f"{task.id} is given {node.id}, which does not meet {broken}", [task]
    there = [other for other in view.tasks.on_node(node.id) if _holds(other) and other.id != task.id]
    # Those of another version may be placed after it in one decision, by the limit that they have.
    mine = [other for other in there if (other.service_id, other.spec_version) == (task.service_id, task.spec_version)]
    if placement is not None and 0 < placement.max_replicas <= sum(other.live for other in mine):
        yield f"{task.id} is one too many of its service on {node.id}", [task, *mine]
    for network in (network for network in view.networks if joins(task, network)):
        if len(having := holders(view, network)) > room(network):
            yield f"{task.id} is given {task.node_id}, and network {network.id} has no part for it: {having}", [task]
    for port in (port for port in task.ports if port.publish_mode == "host"):
        if others := [other for other in there if _opens(other, port.published_port)]:
            yield f"{task.id} is to open port {port.published_port} of {node.id}, which is open", [task, *others]


def holders(view: View, network: Network) -> set[str]:
    """Return the ids of the nodes that have a part of a network, or tasks that need one."""
    placed = {task.node_id for task in view.tasks if _holds(task) and joins(task, network)}
    return set(network.leases) | {node_id for node_id in placed if node_id in view.nodes}


def joins(task: Task, network: Network) -> bool:
    return any(each.target == network.id for each in task.spec.networks)


def room(network: Network) -> int:
    """Return how many nodes can have a part of a network."""
    return PARTS[network.subnets[0].subnet]


def addresses_in(part: str, network: Network) -> int:
    """Return how many containers have an address in a node's part: not its first two, nor the subnet's last."""
    subnet = IPv4Network(network.subnets[0].subnet)
    return sum(each != subnet[-1] for each in list(IPv4Network(part))[2:])


def _opens(task: Task, number: int) -> bool:
    return any(port.published_port == number for port in task.ports if port.publish_mode == "host")


def _holds(task: Task) -> bool:
    return bool(task.node_id) and TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING


def _reserves(task: Task) -> Reservations:
    resources = task.spec.resources
    return (resources.reservations if resources is not None else None) or Reservations()


def same_ports(task: Task, service: Service) -> bool:
    """Whether a task may stay with its ports: its host opens those wanted, and the mesh leads to it if it is to.

    A container that is in a network of the cluster can be reached from outside anyway: none here is internal.
    """
    wanted = service.spec.ports
    reached = _in_mesh(task.ports) >= _in_mesh(wanted) or bool(service.spec.attachments)
    return _on_host(task.ports) == _on_host(wanted) and reached


def _on_host(ports: Iterable[PortConfig]) -> list[PortConfig]:
    return [port for port in ports if port.publish_mode == "host"]


def _in_mesh(ports: Iterable[PortConfig]) -> bool:
    """Whether containers of tasks with these ports are made in the network that leads out of the host."""
    return any(port.publish_mode == "ingress" or port.published_port for port in ports)

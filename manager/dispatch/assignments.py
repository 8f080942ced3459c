"""A node's assignment set, what it is to run and to know: a pure function of the cluster's state.

- Tasks: all that were placed on the node, until their records are removed.
- Secrets and configs: those of tasks that run or are to run there; no others ever leave the store.
- Networks: those of the same tasks, and of unmanaged containers, whose attachments are sent whole.
- Endpoints: services that share one of these networks, and all services that publish a port in the routing mesh.
- Peers: every other node of the data plane, for a node that has any of these networks or endpoints.
- Keys: the node's own for encrypted networks; of other nodes only the public halves, with the peers.
- Measurements: what tasks use whose service is autoscaled, or looked at. They are not part of the set (`Measure`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from common.model import NetworkAttachment, Node, Service, Task
from common.model.service import STACK_LABEL
from common.model.task import TaskState
from common.spec import autoscale
from common.wire.messages import Backend, Peer, PublishedPort, ServiceEndpoint
from common.wire.usage_messages import Gauge, Measure, Scrape
from manager.dispatch import attachments
from manager.overview.usage import STEP_SECONDS
from manager.store.view import View


@dataclass(frozen=True, slots=True)
class Needs:
    """What a task needs on its node, by id."""

    secrets: frozenset[str] = frozenset()
    configs: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()


NOTHING = Needs()


def measure_for(view: View, node_id: str, asked: Collection[str]) -> Measure:
    """Return what a node measures: services (ids) with tasks there that are autoscaled, or that a client looks at."""
    services = view.services.autoscaled()
    if not services and not asked:
        return Measure()
    there = {task.service_id for task in view.tasks.on_node(node_id) if is_assigned(task)}
    gauges = {service.id: gauge for service in services if service.id in there and (gauge := gauge_of(service))}
    for service_id in there.intersection(asked):
        gauges[service_id] = _watched(service_id, gauges.get(service_id))
    return Measure(gauges=tuple(gauges[service_id] for service_id in sorted(gauges)))


def _watched(service_id: str, gauge: Gauge | None) -> Gauge:
    """Return the gauge of a service that a client looks at, extending the one that it has anyway."""
    if gauge is None:
        return Gauge(service_id=service_id, interval=STEP_SECONDS, cpu=True, memory=True)
    return Gauge(service_id=service_id, interval=gauge.interval, cpu=True, memory=True, metric=gauge.metric)


def gauge_of(service: Service) -> Gauge | None:
    """Return the gauge of an autoscaled service's tasks; None for other services."""
    policy = autoscale.of(service.spec)
    if policy is None:
        return None
    metric = policy.metric
    return Gauge(
        service_id=service.id,
        interval=policy.interval,
        cpu=policy.cpu > 0,
        memory=policy.memory > 0,
        metric=Scrape(name=metric.name, port=metric.port, path=metric.path) if metric is not None else None,
    )


def is_assigned(task: Task) -> bool:
    """Whether a task belongs to its node's set: it was placed there, not only intended for it, and is not orphaned."""
    return task.status.state >= TaskState.ASSIGNED and task.desired_state <= TaskState.REMOVE


def same_for_worker(old: Task, new: Task) -> bool:
    """Whether nothing changed that a worker acts on; its own reports are not sent back."""
    return (
        old.desired_state == new.desired_state
        and old.spec_version == new.spec_version
        and old.spec == new.spec
        and old.labels == new.labels
        and old.ports == new.ports
        and old.generic_resources == new.generic_resources
        and old.service_name == new.service_name
        and old.slot == new.slot
    )


def needs_of(task: Task) -> Needs:
    """Return what a task needs; `NOTHING` once it has ended."""
    if task.status.state.terminal:
        return NOTHING
    container = task.spec.container_spec
    if container is None:
        return NOTHING
    runs = task.desired_state <= TaskState.RUNNING
    networks = frozenset(network.target for network in task.spec.networks)
    if not runs or not (container.secrets or container.configs):
        return Needs(networks=networks) if networks else NOTHING
    return Needs(
        secrets=frozenset(reference.secret_id for reference in container.secrets),
        configs=frozenset(reference.config_id for reference in container.configs),
        networks=networks,
    )


def networks_of(service: Service) -> frozenset[str]:
    """Return the ids of a service's networks."""
    return frozenset(attachment.target for attachment in service.spec.attachments)


def publishes(service: Service) -> bool:
    """Whether every node must answer for the service, in the routing mesh."""
    return any(True for _ in _published_ports(service))


def endpoint_of(view: View, service: Service) -> ServiceEndpoint:
    """Return what other nodes need to reach a service. Backends are sorted by task id."""
    endpoint, networks = service.endpoint, networks_of(service)
    tasks = sorted(view.tasks.of_service(service.id), key=lambda task: task.id)
    there = [task for task in tasks if node_is_up(view.nodes.get(task.node_id))]
    vips = endpoint.virtual_ips if endpoint is not None else ()
    return ServiceEndpoint(
        service_id=service.id,
        name=service.name,
        stack=service.spec.labels.get(STACK_LABEL, ""),
        vips={vip.network_id: vip.addr for vip in vips if vip.network_id in networks},
        aliases={
            attachment.target: attachment.aliases for attachment in service.spec.attachments if attachment.aliases
        },
        ports=tuple(_published_ports(service)),
        backends=tuple(backend for task in there if (backend := backend_of(task))),
        draining=tuple(backend for task in there if (backend := draining_of(task))),
    )


def attachment_endpoint(view: View, attachment: NetworkAttachment) -> ServiceEndpoint:
    """Return what nodes need to reach an unmanaged container."""
    return attachments.endpoint_of(attachment, node_up=node_is_up(view.nodes.get(attachment.node_id)))


def backend_of(task: Task) -> Backend | None:
    """Return the task as a backend; None while it may not get traffic: it must run, be wanted, and have an address.

    Whether its node is up is not asked here (`node_is_up`).
    """
    return _backend(task) if task.desired_state == TaskState.RUNNING else None


def draining_of(task: Task) -> Backend | None:
    """Return the task as a backend that finishes its connections: it runs, but is to stop. None otherwise."""
    return _backend(task) if task.desired_state > TaskState.RUNNING else None


def roles_of(task: Task | None) -> tuple[Backend | None, Backend | None]:
    """Return a task's two roles in its service's endpoint: (backend, draining backend)."""
    return (backend_of(task), draining_of(task)) if task is not None else (None, None)


def node_is_up(node: Node | None) -> bool:
    """Whether the tasks of a node can be reached. An unknown state, as after a manager's start, counts as up."""
    return node is not None and node.status.state != "down"


def peer_of(node: Node) -> Peer | None:
    """Return the node as a peer; None when it has no worker, no number or no address in the data plane."""
    if not node.agent or not node.number or not node.status.addr:
        return None
    keys = {key.generation: key.public for key in node.tunnel_keys}
    return Peer(
        node_id=node.id,
        number=node.number,
        addr=node.status.addr,
        keys=keys,
        ipv6_addresses=node.description.ipv6_addresses,
    )


def _backend(task: Task) -> Backend | None:
    seen = task.status
    if seen.state != TaskState.RUNNING or not seen.addresses:
        return None
    return Backend(
        task_id=task.id, slot=task.slot, node_id=task.node_id, addresses=seen.addresses, hostname=seen.hostname
    )


def _published_ports(service: Service) -> Iterator[PublishedPort]:
    for port in service.endpoint.ports if service.endpoint else ():
        if port.publish_mode == "ingress" and port.published_port:
            yield PublishedPort(
                protocol=port.protocol,
                published=port.published_port,
                target=port.target_port,
                host_ip=port.host_ip,
            )

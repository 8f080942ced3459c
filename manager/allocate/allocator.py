"""The allocator's decision: gives networks, services, nodes and tasks what they need from what is free.

Keys are `network/ID`, `service/ID`, `node/ID`, `task/ID` and `lease/NETWORK/NODE`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cached_property

import msgspec

from common.errors import NotFound, ResourceExhausted, SwarmError
from common.model import Network, Node, Service, Task, TaskState, TaskStatus
from common.model.service import Endpoint, EndpointSpec, PortConfig
from common.net.addressing import layout
from common.net.engine_networks import PREDEFINED_NETWORKS
from manager.allocate.attachments import DRAINED_LINGER, LEASE_LINGER, is_in
from manager.allocate.endpoints import AddressesInUse, PortsInUse, choose_ports, choose_vips, targets
from manager.allocate.leases import lease, release
from manager.allocate.subnets import allocate_among, is_allocated, is_overlay
from manager.store.changes import Decision
from manager.store.view import View

PENDING_MESSAGE = "pending task scheduling"
RETRY_SECONDS = 5.0


def allocate(view: View, keys: Collection[str], now: float) -> Decision:
    """Decide everything that `keys` name. What is not available is tried again, and its tasks say what is missing."""
    sorted_keys: dict[str, list[list[str]]] = {}
    for key in keys:
        kind, *ids = key.split("/")
        sorted_keys.setdefault(kind, []).append(ids)
    work = _Work(view, now)
    for [network_id] in sorted_keys.get("network", ()):
        work.network(network_id)
    for [service_id] in sorted_keys.get("service", ()):
        work.service(service_id)
    for [node_id] in sorted_keys.get("node", ()):
        work.node(node_id)
    for [task_id] in sorted_keys.get("task", ()):
        work.task(task_id)
    pairs: dict[str, list[str]] = {}
    for network_id, node_id in sorted_keys.get("lease", ()):
        pairs.setdefault(network_id, []).append(node_id)
    for network_id, node_ids in pairs.items():
        work.leases(network_id, node_ids)
    return work.decision()


def takes_part(task: Task, network_id: str) -> bool:
    """Whether the task holds, on its node, an address of the network."""
    return task.placed and any(each.target == network_id for each in task.spec.networks)


def new(task: Task) -> bool:
    """Whether the task waits for the allocator."""
    return task.status.state == TaskState.NEW and task.desired_state <= TaskState.COMPLETE


class _Work:
    """A decision while it is made: the view, with what was decided so far on top."""

    def __init__(self, view: View, now: float) -> None:
        self._view = view
        self._now = now
        self._networks: dict[str, Network] = {}
        self._services: dict[str, Service] = {}
        self._others: dict[str, Node | Task] = {}
        self._wake_at: dict[str, float] = {}
        self._reasons: list[str] = []

    def decision(self) -> Decision:
        put = (*self._networks.values(), *self._services.values(), *self._others.values())
        return Decision(put=put, wake_at=self._wake_at, reasons=tuple(self._reasons))

    @cached_property
    def _addresses(self) -> AddressesInUse:
        return AddressesInUse(self._view.services)

    @cached_property
    def _ports(self) -> PortsInUse:
        return PortsInUse(self._view.services)

    @cached_property
    def _ingress(self) -> tuple[str, ...]:
        """The id of the routing mesh's network, where there is one."""
        return tuple(network.id for network in self._view.networks if network.spec.ingress)

    @cached_property
    def _numbers(self) -> set[int]:
        return {node.number for node in self._view.nodes}

    def network(self, network_id: str) -> None:
        """Give a network its subnets, if the API has not."""
        try:
            self._allocated_network(network_id)
        except SwarmError as error:
            self._try_again(f"network/{network_id}", error)

    def service(self, service_id: str) -> None:
        """Give a service its ports and virtual addresses."""
        try:
            self._allocated_service(service_id)
        except SwarmError as error:
            self._try_again(f"service/{service_id}", error)

    def node(self, node_id: str) -> None:
        """Give a node its number in the data plane."""
        node = self._view.nodes.get(node_id)
        if node is None or not node.agent or node.number:
            return
        highest = layout(self._view.cluster.default_addr_pool).numbers
        number = next((n for n in range(1, highest + 1) if n not in self._numbers), 0)
        if number:
            self._numbers.add(number)
            self._others[node_id] = msgspec.structs.replace(node, number=number)
        else:
            pool = self._view.cluster.default_addr_pool[0]
            text = (
                f"node {node.name or node_id}: the address pool {pool} has room for {highest} nodes, and all are there"
            )
            self._try_again(f"node/{node_id}", ResourceExhausted(text))

    def task(self, task_id: str) -> None:
        """Make a new task pending when all that it needs is allocated; otherwise its status says what is missing."""
        task = self._view.tasks.get(task_id)
        if task is None or not new(task):
            return
        try:
            ports = self._needs(task)
        except SwarmError as error:
            self._wake_at[f"task/{task_id}"] = self._now + RETRY_SECONDS
            status = msgspec.structs.replace(task.status, err=error.message, timestamp=self._now)
            if task.status.err != error.message:
                self._others[task_id] = msgspec.structs.replace(task, status=status)
            return
        status = TaskStatus(state=TaskState.PENDING, message=PENDING_MESSAGE, timestamp=self._now)
        self._others[task_id] = msgspec.structs.replace(task, status=status, ports=ports)

    def leases(self, network_id: str, node_ids: Iterable[str]) -> None:
        """Give nodes with tasks of a network their parts of it, and take back those that are no longer in use."""
        network = self._network(network_id)
        if network is None or not network.subnets or not is_overlay(network):
            return
        needing = {node_id: None for node_id in node_ids if self._uses(network_id, node_id)}
        idle = [node_id for node_id in node_ids if node_id not in needing and self._is_over(network, node_id)]
        changed, without = lease(release(network, idle), needing, len(self._view.nodes))
        for node_id in without:
            text = f"network {network.name!r} has no addresses left for node {node_id}: give it a larger subnet"
            self._try_again(f"lease/{network_id}/{node_id}", ResourceExhausted(text))
        if changed is not network:
            self._networks[network_id] = changed

    def _network(self, network_id: str) -> Network | None:
        return self._networks.get(network_id) or self._view.networks.get(network_id)

    def _allocated_network(self, network_id: str) -> Network | None:
        network = self._network(network_id)
        if network is None or is_allocated(network):
            return network
        networks = ({value.id: value for value in self._view.networks} | self._networks).values()
        self._networks[network_id] = allocate_among(self._view, network, networks)
        return self._networks[network_id]

    def _allocated_service(self, service_id: str) -> Service | None:
        """Return the service with the endpoint that its spec asks for; None if it is gone."""
        service = self._services.get(service_id) or self._view.services.get(service_id)
        if service is None:
            return None
        endpoint = self._endpoint(service)
        if endpoint != service.endpoint:
            service = self._services[service_id] = msgspec.structs.replace(service, endpoint=endpoint)
        return service

    def _endpoint(self, service: Service) -> Endpoint | None:
        spec = service.spec.endpoint_spec
        wanted = dict.fromkeys((*(self._ingress if service.spec.in_mesh else ()), *targets(service)))
        if _is_complete(service, wanted):
            return service.endpoint
        networks = [n for n in map(self._allocated_network, wanted) if n is not None and is_overlay(n)]
        if not networks and spec is None:
            return None
        ports = choose_ports(service, self._ports) if spec is not None and spec.ports else ()
        vips = choose_vips(service, networks, self._addresses, self._now) if networks else ()
        return Endpoint(spec=spec or EndpointSpec(), ports=ports, virtual_ips=vips)

    def _needs(self, task: Task) -> tuple[PortConfig, ...]:
        """Allocate what the task needs and does not have; return its ports with their numbers.

        Raises:
            SwarmError: something is not available, or a network does not exist.

        """
        for attachment in task.spec.networks:
            target = attachment.target
            if target not in PREDEFINED_NETWORKS and self._allocated_network(target) is None:
                raise NotFound(f"network {target} not found: create it, or update the service")
        service = self._allocated_service(task.service_id)
        if service is None or service.endpoint is None or service.spec_version != task.spec_version:
            return task.ports
        return service.endpoint.ports

    def _uses(self, network_id: str, node_id: str) -> bool:
        """Whether a task or unmanaged container on the node, if that exists, holds an address of the network."""
        if node_id not in self._view.nodes:
            return False
        return any(takes_part(task, network_id) for task in self._view.tasks.on_node(node_id)) or any(
            attachment.live and is_in(attachment, network_id) for attachment in self._view.attachments.on_node(node_id)
        )

    def _is_over(self, network: Network, node_id: str) -> bool:
        """Whether a node without tasks of the network may lose its part.

        Not while it is away, since its containers may still run. Not at once, since another task may come, unless the
        node is drained.
        """
        node = self._view.nodes.get(node_id)
        if node is None or node_id not in network.leases:
            return True
        if node.status.state != "ready":
            return False
        ended = [
            task.status.timestamp
            for task in self._view.tasks.on_node(node_id)
            if task.status.state.terminal and any(each.target == network.id for each in task.spec.networks)
        ]
        left = self._view.attachments.on_node(node_id)
        ended += [attachment.ended_at for attachment in left if is_in(attachment, network.id)]
        linger = DRAINED_LINGER if node.spec.availability == "drain" else LEASE_LINGER
        over_at = max(ended, default=-linger) + linger
        if over_at > self._now:
            self._wake_at[f"lease/{network.id}/{node_id}"] = over_at
        return over_at <= self._now

    def _try_again(self, key: str, error: SwarmError) -> None:
        self._wake_at[key] = self._now + RETRY_SECONDS
        self._reasons.append(error.message)


def _is_complete(service: Service, networks: Collection[str]) -> bool:
    """Whether the service's endpoint is all that its spec asks for, with an address in each of these networks.

    This avoids reading all services for most tasks.
    """
    endpoint, spec = service.endpoint, service.spec.endpoint_spec or EndpointSpec()
    if endpoint is None:
        return service.spec.endpoint_spec is None and not networks
    has_ports = len(endpoint.ports) == len(spec.ports) and all(
        port.published_port or port.publish_mode != "ingress" for port in endpoint.ports
    )
    has_vips = spec.mode == "dnsrr" or {vip.network_id for vip in endpoint.virtual_ips} == set(networks)
    return endpoint.spec == spec and has_ports and has_vips

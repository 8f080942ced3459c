"""Which nodes a change concerns: indexes that turn a change of the store into marks on the feeds of these nodes.

The cost of a change is proportional to the number of nodes that it concerns, whatever the size of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from common.model import Config, Network, NetworkAttachment, Node, Secret, Service, Task
from common.wire.messages import Peer, ServiceEndpoint
from manager.dispatch import attachments
from manager.dispatch.assignments import (
    attachment_endpoint,
    endpoint_of,
    gauge_of,
    networks_of,
    node_is_up,
    peer_of,
    publishes,
    roles_of,
)
from manager.store.changes import Change
from manager.store.view import View


class Listener(Protocol):
    """What the directory needs of a node's feed."""

    node_id: str

    def touch_task(self, task_id: str) -> None: ...
    def touch_service(self, service_id: str) -> None: ...
    def touch_network(self, network_id: str) -> None: ...
    def touch_file(self, object_id: str) -> None:
        """Mark a secret or config."""

    def touch_attachment(self, attachment_id: str) -> None: ...
    def touch_node(self, node_id: str) -> None: ...
    def touch_measured(self) -> None:
        """Mark that what is measured of a service with tasks there has changed."""

    def start_over(self) -> None: ...


class Directory:
    """Indexes: each node's listener, who holds which network, which services are on a network, and all endpoints."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._listeners: dict[str, Listener] = {}
        # Dicts as ordered sets: the order in which nodes are marked must not depend on hashing.
        self._holders: dict[str, dict[Listener, None]] = {}
        self._on_network: dict[str, set[str]] = {}
        self._publishing: set[str] = set()
        self._endpoints: dict[str, ServiceEndpoint] = {}
        self._peers: dict[str, Peer] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Read all services and nodes again and have every node start over, as changes were missed."""
        for index in (self._on_network, self._publishing, self._endpoints, self._peers):
            index.clear()
        for node in self._view.nodes:
            self._index_peer(node.id, peer_of(node))
        for service in self._view.services:
            self._index(None, service)
        for attachment in self._view.attachments:
            self._index_attachment(None, attachment)
        for listener in self._listeners.values():
            listener.start_over()

    # --- nodes come, go, and gain and lose networks -------------------------------------------------------------------

    def add(self, listener: Listener) -> None:
        """Add a node's listener, in place of that of an earlier session."""
        self._listeners[listener.node_id] = listener

    def discard(self, listener: Listener) -> None:
        if self._listeners.get(listener.node_id) is listener:
            del self._listeners[listener.node_id]

    def hold(self, listener: Listener, network_id: str) -> None:
        """Note that a node has a network: changes of the services there concern it from now on."""
        self._holders.setdefault(network_id, {})[listener] = None

    def release(self, listener: Listener, network_id: str) -> None:
        holders = self._holders.get(network_id)
        if holders is not None:
            holders.pop(listener, None)
            if not holders:
                del self._holders[network_id]

    def services_for(self, networks: Iterable[str]) -> set[str]:
        """Return the ids of the services that a node with these networks must know."""
        return self._publishing.union(*(self._on_network.get(network, ()) for network in networks))

    def services_on(self, network_id: str) -> AbstractSet[str]:
        return self._on_network.get(network_id, frozenset())

    @property
    def peers(self) -> Mapping[str, Peer]:
        """Every node that takes part in the data plane, by node id."""
        return self._peers

    def endpoint_for(self, service_id: str, networks: Iterable[str]) -> ServiceEndpoint | None:
        """Return a service's endpoint if a node with these networks must know it; built once for all nodes."""
        service = self._view.services.get(service_id)
        if service is None:
            return self._attachment_for(service_id, networks)
        if networks_of(service).isdisjoint(networks) and not publishes(service):
            return None
        endpoint = self._endpoints.get(service_id)
        if endpoint is None:
            endpoint = self._endpoints[service_id] = endpoint_of(self._view, service)
        return endpoint

    def _attachment_for(self, attachment_id: str, networks: Iterable[str]) -> ServiceEndpoint | None:
        attachment = self._view.attachments.get(attachment_id)
        if attachment is None or not attachment.live or attachments.networks_of(attachment).isdisjoint(networks):
            return None
        endpoint = self._endpoints.get(attachment_id)
        if endpoint is None:
            endpoint = self._endpoints[attachment_id] = attachment_endpoint(self._view, attachment)
        return endpoint

    # --- changes ------------------------------------------------------------------------------------------------------

    def mark_changes(self, changes: Iterable[Change]) -> None:
        """Mark what these changes make stale, in every node that they concern."""
        services: set[str] = set()
        for change in changes:
            if isinstance(change.current, Task):
                self._mark_task(change, services)
                continue
            if isinstance(change.current, Node) and _came_or_went(change):
                services.update(task.service_id for task in self._view.tasks.on_node(change.current.id))
                for attachment in self._view.attachments.on_node(change.current.id):
                    self._mark_attachment_for_listeners(attachment)
            self._mark_other(change)
        for service_id in sorted(services):
            service = self._view.services.get(service_id)
            if service is not None:
                self._mark_for_listeners(service)

    def _mark_task(self, change: Change, services: set[str]) -> None:
        old = change.old if isinstance(change.old, Task) else None
        new = change.new if isinstance(change.new, Task) else None
        for task in (old, new):
            listener = self._listeners.get(task.node_id) if task is not None else None
            if task is not None and listener is not None:
                listener.touch_task(task.id)
        if roles_of(old) != roles_of(new):
            services.update(task.service_id for task in (old, new) if task is not None)

    def _mark_other(self, change: Change) -> None:
        match change.current:
            case Service():
                self._mark_service(change)
            case Network() as network:
                for holder in self._holders.get(network.id, ()):
                    holder.touch_network(network.id)
            case NetworkAttachment():
                self._mark_attachment(change)
            case Node():
                self._mark_node(change)
            case Secret() | Config() as file:
                for listener in self._listeners.values():
                    listener.touch_file(file.id)
            case _:
                pass  # nothing of the cluster record is sent in assignments

    def _mark_service(self, change: Change) -> None:
        old = change.old if isinstance(change.old, Service) else None
        new = change.new if isinstance(change.new, Service) else None
        if (gauge_of(old) if old else None) != (gauge_of(new) if new else None):
            for node_id in dict.fromkeys(task.node_id for task in self._view.tasks.of_service(change.current.id)):
                if listener := self._listeners.get(node_id):
                    listener.touch_measured()
        self._index(old, new)
        for service in (old, new):
            if service is not None:
                self._mark_for_listeners(service)

    def _mark_attachment(self, change: Change) -> None:
        old = change.old if isinstance(change.old, NetworkAttachment) else None
        new = change.new if isinstance(change.new, NetworkAttachment) else None
        current = new or old
        listener = self._listeners.get(current.node_id) if current is not None else None
        if listener is not None:
            listener.touch_attachment(change.current.id)
        if attachments.endpoint_facts(old) == attachments.endpoint_facts(new):
            return
        self._index_attachment(old, new)
        for attachment in (old, new):
            if attachment is not None:
                self._mark_attachment_for_listeners(attachment)

    def _mark_node(self, change: Change) -> None:
        old = change.old if isinstance(change.old, Node) else None
        new = change.new if isinstance(change.new, Node) else None
        peer = peer_of(new) if new is not None else None
        if self._peers.get(change.current.id) != peer:
            self._index_peer(change.current.id, peer)
            for listener in self._listeners.values():
                listener.touch_node(change.current.id)
        elif _own_part(old) != _own_part(new):
            listener_of_it = self._listeners.get(change.current.id)
            if listener_of_it is not None:
                listener_of_it.touch_node(change.current.id)

    def _index(self, old: Service | None, new: Service | None) -> None:
        if old is not None:
            self._publishing.discard(old.id)
            for network in networks_of(old):
                self._leave(old.id, network)
        if new is not None:
            if publishes(new):
                self._publishing.add(new.id)
            for network in networks_of(new):
                self._on_network.setdefault(network, set()).add(new.id)

    def _index_attachment(self, old: NetworkAttachment | None, new: NetworkAttachment | None) -> None:
        if old is not None:
            for network_id in attachments.networks_of(old):
                self._leave(old.id, network_id)
        if new is not None and new.live:
            for network_id in attachments.networks_of(new):
                self._on_network.setdefault(network_id, set()).add(new.id)

    def _leave(self, service_id: str, network_id: str) -> None:
        members = self._on_network.get(network_id, set())
        members.discard(service_id)
        if not members:
            self._on_network.pop(network_id, None)

    def _index_peer(self, node_id: str, peer: Peer | None) -> None:
        if peer is None:
            self._peers.pop(node_id, None)
        else:
            self._peers[node_id] = peer

    def _mark_for_listeners(self, service: Service) -> None:
        """Tell all nodes that must know a service that its endpoint is stale."""
        self._endpoints.pop(service.id, None)
        if publishes(service):
            for listener in self._listeners.values():
                listener.touch_service(service.id)
            return
        for network in networks_of(service):
            for holder in self._holders.get(network, ()):
                holder.touch_service(service.id)

    def _mark_attachment_for_listeners(self, attachment: NetworkAttachment) -> None:
        self._endpoints.pop(attachment.id, None)
        for network_id in attachments.networks_of(attachment):
            for holder in self._holders.get(network_id, ()):
                holder.touch_service(attachment.id)


def _own_part(node: Node | None) -> tuple[object, ...]:
    """Say what of a node's record it is told itself."""
    return (node.number, node.tunnel_keys, node.name) if node is not None else (0, (), "")


def _came_or_went(change: Change) -> bool:
    """Whether a node's tasks can be reached since this change, or no longer."""
    old = change.old if isinstance(change.old, Node) else None
    new = change.new if isinstance(change.new, Node) else None
    return node_is_up(old) != node_is_up(new)

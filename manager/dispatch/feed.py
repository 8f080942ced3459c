"""What one node was sent, and what of it is stale: turns marks into assignment messages.

The cost of a message is proportional to what changed. A feed with too many marks, or whose node asks for it, starts
over: everything is sent as one complete set, by the same code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from common.model import Config, Network, NetworkAttachment, Secret, Task
from common.model.node import TunnelKey
from common.net.addressing import cluster_pools
from common.wire.messages import Assignments, Peer, ServiceEndpoint
from manager.dispatch import attachments
from manager.dispatch.assignments import NOTHING, Needs, is_assigned, needs_of, same_for_worker
from manager.dispatch.directory import Directory
from manager.store.view import View

MAX_MARKS = 20_000
# A frame may hold 16 MiB; secrets and configs beyond this come in messages of their own, right after the set.
FILE_BYTES = 8 * 1024 * 1024

V = TypeVar("V", bound=object)
F = TypeVar("F", Secret, Config)


class Counts(Counter[str]):
    """How many tasks need each object; notes which became needed or unneeded since `take`."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: set[str] = set()

    def shift(self, old: frozenset[str], new: frozenset[str]) -> None:
        for key in new - old:
            self[key] += 1
            self.touched.add(key)
        for key in old - new:
            self[key] -= 1
            self.touched.add(key)
            if not self[key]:
                del self[key]

    def take(self) -> list[str]:
        touched, self.touched = self.touched, set()
        return sorted(touched)


class Feed:
    """The state of one session's assignments. `touch_…` marks what may be stale; `take` makes the messages.

    `stale` is called on every mark that is the first after a `take`.
    """

    def __init__(self, node_id: str, view: View, directory: Directory, stale: Callable[[], None]) -> None:
        self.node_id = node_id
        self._view = view
        self._directory = directory
        self._stale = stale
        self._number = 0
        self._own_hostname = ""
        self._reset()

    @property
    def number(self) -> int:
        """The number of the newest assignment set (`Assignments.results_in`)."""
        return self._number

    # --- marks --------------------------------------------------------------------------------------------------------

    def touch_task(self, task_id: str) -> None:
        self._mark(self._marked_tasks, task_id)

    def touch_service(self, service_id: str) -> None:
        self._mark(self._marked_services, service_id)

    def touch_network(self, network_id: str) -> None:
        self._mark(self._marked_networks, network_id)

    def touch_attachment(self, attachment_id: str) -> None:
        self._mark(self._marked_attachments, attachment_id)

    def touch_file(self, object_id: str) -> None:
        if object_id in self._secret_counts:
            self._mark(self._secret_counts.touched, object_id)
        elif object_id in self._config_counts:
            self._mark(self._config_counts.touched, object_id)

    def touch_node(self, node_id: str) -> None:
        self._mark(self._marked_nodes, node_id)

    def touch_measured(self) -> None:
        self._stale()

    def set_reported_hostname(self, hostname: str) -> None:
        """Set the host name that the node reports: it is told its name in the cluster if that differs."""
        self._own_hostname = hostname
        self._stale()

    def start_over(self) -> None:
        """Send a complete set next."""
        self._complete = True
        self._stale()

    def close(self) -> None:
        """Leave the directory's indexes."""
        self._directory.discard(self)
        for network_id in self._held:
            self._directory.release(self, network_id)
        self._held.clear()

    # --- messages -----------------------------------------------------------------------------------------------------

    def take(self) -> list[Assignments]:
        """Return the messages that bring the node up to date, in order; empty when nothing that it sees has changed."""
        complete = self._complete
        if complete:
            self.close()
            self._reset()
            self._directory.add(self)
            self._mark_all()
        number_before, keys_before = self._node_number, self._tunnel_keys
        body = msgspec.structs.replace(self._difference(), hostname=self._update_hostname())
        if complete or self._tunnel_keys != keys_before:
            body = msgspec.structs.replace(body, tunnel_keys=self._tunnel_keys)
        if not complete and body == _EMPTY and self._node_number == number_before:
            return []
        first, *rest = _split_files(body)
        return [self._numbered(first, complete=complete), *(self._numbered(part, complete=False) for part in rest)]

    def _reset(self) -> None:
        self._complete = True
        self._tasks: dict[str, Task] = {}
        self._needs: dict[str, Needs] = {}
        self._secrets: dict[str, Secret] = {}
        self._configs: dict[str, Config] = {}
        self._networks: dict[str, Network] = {}
        self._attachments: dict[str, NetworkAttachment] = {}
        self._endpoints: dict[str, ServiceEndpoint] = {}
        self._meshed = False
        self._sent_hostname: str = ""
        self._node_number: int = 0
        self._tunnel_keys: tuple[TunnelKey, ...] = ()
        self._secret_counts = Counts()
        self._config_counts = Counts()
        self._network_counts = Counts()
        self._held: set[str] = set()
        self._marked_tasks: set[str] = set()
        self._marked_services: set[str] = set()
        self._marked_networks: set[str] = set()
        self._marked_attachments: set[str] = set()
        self._marked_nodes: set[str] = set()

    def _mark_all(self) -> None:
        self._complete = False
        self._marked_tasks.update(task.id for task in self._view.tasks.on_node(self.node_id))
        self._marked_attachments.update(each.id for each in self._view.attachments.on_node(self.node_id))
        self._marked_services |= self._directory.services_for(())
        self._marked_nodes.add(self.node_id)

    def _mark(self, marks: set[str], key: str) -> None:
        marks.add(key)
        if len(marks) > MAX_MARKS:
            self._complete = True
        self._stale()

    def _numbered(self, body: Assignments, *, complete: bool) -> Assignments:
        before, self._number = self._number, self._number + 1
        cluster = self._view.cluster
        return msgspec.structs.replace(
            body,
            complete=complete,
            applies_to=0 if complete else before,
            results_in=self._number,
            node_number=self._node_number,
            address_pools=cluster_pools(cluster.id, cluster.default_addr_pool) if complete else (),
            data_path_port=cluster.data_path_port if complete else 0,
        )

    def _difference(self) -> Assignments:
        tasks = self._update_tasks()
        attached = self._update_attachments()
        secrets = _diff(self._secrets, ((i, self._needed_secret(i)) for i in self._secret_counts.take()))
        configs = _diff(self._configs, ((i, self._needed_config(i)) for i in self._config_counts.take()))
        networks = self._update_networks()
        held = self._network_counts
        endpoints = _diff(
            self._endpoints,
            ((i, self._directory.endpoint_for(i, held)) for i in _drain_marks(self._marked_services)),
        )
        peers = self._update_peers()
        return Assignments(
            complete=False,
            results_in=0,
            tasks=tuple(tasks[0]),
            removed_tasks=tuple(tasks[1]),
            secrets=tuple(secrets[0]),
            removed_secrets=tuple(secrets[1]),
            configs=tuple(configs[0]),
            removed_configs=tuple(configs[1]),
            networks=tuple(networks[0]),
            removed_networks=tuple(networks[1]),
            attachments=tuple(attached[0]),
            removed_attachments=tuple(attached[1]),
            endpoints=tuple(endpoints[0]),
            removed_endpoints=tuple(endpoints[1]),
            peers=tuple(peers[0]),
            removed_peers=tuple(peers[1]),
        )

    def _update_tasks(self) -> tuple[list[Task], list[str]]:
        changed: list[Task] = []
        removed: list[str] = []
        for task_id in _drain_marks(self._marked_tasks):
            task = self._view.tasks.get(task_id)
            if task is not None and (task.node_id != self.node_id or not is_assigned(task)):
                task = None
            self._count_needs(task_id, needs_of(task) if task is not None else NOTHING)
            old = self._tasks.get(task_id)
            if task is None:
                if old is not None:
                    del self._tasks[task_id]
                    removed.append(task_id)
                continue
            if old is None or not same_for_worker(old, task):
                changed.append(task)
            self._tasks[task_id] = task
        return changed, removed

    def _update_attachments(self) -> tuple[list[NetworkAttachment], list[str]]:
        changed: list[NetworkAttachment] = []
        removed: list[str] = []
        for attachment_id in _drain_marks(self._marked_attachments):
            attachment = self._view.attachments.get(attachment_id)
            if attachment is not None and (attachment.node_id != self.node_id or not attachment.live):
                attachment = None
            needs = Needs(networks=attachments.networks_of(attachment)) if attachment is not None else NOTHING
            self._count_needs(attachment_id, needs)
            old = self._attachments.pop(attachment_id, None)
            if attachment is None:
                if old is not None:
                    removed.append(attachment_id)
                continue
            if old is None or not attachments.same_for_worker(old, attachment):
                changed.append(attachment)
            self._attachments[attachment_id] = attachment
        return changed, removed

    def _count_needs(self, task_id: str, needs: Needs) -> None:
        before = self._needs.get(task_id, NOTHING)
        if needs is before:
            return
        self._secret_counts.shift(before.secrets, needs.secrets)
        self._config_counts.shift(before.configs, needs.configs)
        self._network_counts.shift(before.networks, needs.networks)
        if needs is NOTHING:
            self._needs.pop(task_id, None)
        else:
            self._needs[task_id] = needs

    def _update_networks(self) -> tuple[list[Network], list[str]]:
        turned = self._network_counts.take()
        for network_id in turned:
            if network_id in self._network_counts:
                self._held.add(network_id)
                self._directory.hold(self, network_id)
            else:
                self._held.discard(network_id)
                self._directory.release(self, network_id)
                # The directory may not have seen the latest changes on this network, and would no longer mark them
                # here.
                self._marked_services.update(self._endpoints)
            self._marked_services |= self._directory.services_on(network_id)
        stale = dict.fromkeys([*turned, *_drain_marks(self._marked_networks)])
        return _diff(
            self._networks,
            ((i, self._view.networks.get(i) if i in self._network_counts else None) for i in stale),
        )

    def _update_peers(self) -> tuple[list[Peer], list[str]]:
        marked = list(_drain_marks(self._marked_nodes))
        if self.node_id in marked:
            marked.remove(self.node_id)
            node = self._view.nodes.get(self.node_id)
            self._node_number = node.number if node is not None else 0
            self._tunnel_keys = node.tunnel_keys if node is not None else ()
        peers = self._directory.peers
        meshed = bool(self._network_counts or self._endpoints)
        if meshed != self._meshed:
            self._meshed = meshed
            marked = sorted({*marked, *peers} - {self.node_id})
            if not meshed:
                return [], marked
        elif not meshed:
            return [], []
        # What was sent is not kept a node: that would be nodes times nodes. A removal may name what was never sent.
        return [peers[i] for i in marked if i in peers], [i for i in marked if i not in peers]

    def _update_hostname(self) -> str:
        """Return what the node is called, if that is not what it goes by."""
        node = self._view.nodes.get(self.node_id)
        if node is None or node.name == (self._sent_hostname or self._own_hostname):
            return ""
        self._sent_hostname = node.name
        return node.name

    def _needed_secret(self, secret_id: str) -> Secret | None:
        return self._view.secrets.get(secret_id) if secret_id in self._secret_counts else None

    def _needed_config(self, config_id: str) -> Config | None:
        return self._view.configs.get(config_id) if config_id in self._config_counts else None


_EMPTY = Assignments(complete=False, results_in=0)


def _drain_marks(marks: set[str]) -> Iterator[str]:
    """Empty a set of marks, in an order that does not depend on hashing."""
    keys = sorted(marks)
    marks.clear()
    return iter(keys)


def _diff(held: dict[str, V], now: Iterable[tuple[str, V | None]]) -> tuple[list[V], list[str]]:
    """Bring `held` up to date; return what is new or changed, and the keys that went."""
    changed: list[V] = []
    removed: list[str] = []
    for key, value in now:
        old = held.get(key)
        if value is None:
            if old is not None:
                del held[key]
                removed.append(key)
        elif old is not value and old != value:
            held[key] = value
            changed.append(value)
    return changed, removed


def _split_files(body: Assignments) -> list[Assignments]:
    """Move secrets and configs that would make the frame too large into messages that follow."""
    secrets, configs = _portions(body.secrets), _portions(body.configs)
    if len(secrets) + len(configs) <= 2 and sum(len(f.spec.data) for f in body.secrets + body.configs) <= FILE_BYTES:
        return [body]
    more = [msgspec.structs.replace(_EMPTY, secrets=portion) for portion in secrets]
    more += [msgspec.structs.replace(_EMPTY, configs=portion) for portion in configs]
    return [msgspec.structs.replace(body, secrets=(), configs=()), *more]


def _portions(files: tuple[F, ...]) -> list[tuple[F, ...]]:
    portions: list[tuple[F, ...]] = []
    portion: list[F] = []
    size = 0
    for file in files:
        if portion and size + len(file.spec.data) > FILE_BYTES:
            portions.append(tuple(portion))
            portion, size = [], 0
        portion.append(file)
        size += len(file.spec.data)
    if portion:
        portions.append(tuple(portion))
    return portions

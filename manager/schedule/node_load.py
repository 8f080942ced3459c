"""What the scheduler knows of one node's load, and whether a network has room for one more task there. Pure.

The allocator gives a node its part of a network when a task is placed there (`manager.allocate.attachments`). Until
then the task claims one, so that no two nodes count on the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from common.model import Network, Node, Task
from common.model.node import PlainContainers
from common.net.addressing import one_address
from manager.domain.network_parts import SMALLEST_PART, containers_in, parts_left
from manager.domain.reservations import reservations_of

PortKey: TypeAlias = tuple[str, int]
NO_PLAIN = PlainContainers()


class NodeLoad:
    """One node's share: `cpu` (billionths of a core) and `memory` (bytes) reserved, `total` tasks that count.

    `plain` is what its worker says of containers that are not tasks; the numbers include what they reserve. `node` is
    None while a node whose record is gone still has tasks. `generic` holds the tasks that were given
    generic resources, `ports` the host ports in use: (protocol, port) → address, empty for all → how many tasks.
    """

    __slots__ = ("cpu", "generic", "id", "memory", "node", "open", "plain", "ports", "tasks", "total")

    def __init__(self, node_id: str) -> None:
        self.id = node_id
        self.node: Node | None = None
        self.open = False
        self.tasks = 0
        self.total = 0
        self.cpu = 0
        self.memory = 0
        self.plain = NO_PLAIN
        self.generic: dict[str, Task] = {}
        self.ports: dict[PortKey, dict[str, int]] = {}

    def facts(self) -> tuple[object, ...]:
        """Return everything known, to compare."""
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeLoad) and self.facts() == other.facts()

    __hash__ = None  # type: ignore[assignment]

    def hold(self, task: Task, sign: int) -> None:
        """Add (`sign` 1) or take away (-1) what a placed task holds."""
        self.tasks += sign
        if task.spec.resources is not None:
            wanted = reservations_of(task)
            self.cpu += sign * wanted.nano_cpus
            self.memory += sign * wanted.memory_bytes
        if task.generic_resources:
            if sign > 0:
                self.generic[task.id] = task
            else:
                self.generic.pop(task.id, None)
        if task.ports:
            for key, address in host_ports(task):
                self._bind(key, address, sign)

    def set_plain(self, plain: PlainContainers) -> None:
        """Replace the unmanaged containers that count."""
        old, self.plain = self.plain, plain
        self.total += plain.count - old.count
        self.cpu += plain.nano_cpus - old.nano_cpus
        self.memory += plain.memory_bytes - old.memory_bytes

    def port_taken(self, key: PortKey, address: str) -> bool:
        """Whether a task here has the port on `address`; empty stands for all addresses."""
        users = self.ports.get(key)
        return users is not None and (not address or address in users or "" in users)

    def _bind(self, key: PortKey, address: str, sign: int) -> None:
        users = self.ports.setdefault(key, {})
        users[address] = users.get(address, 0) + sign
        if not users[address]:
            del users[address]
        if not users:
            del self.ports[key]


def host_ports(task: Task) -> Iterator[tuple[PortKey, str]]:
    """Yield the ports that the task wants on its host: (protocol, port) and the address, empty for all addresses."""
    for port in task.ports:
        if port.publish_mode == "host" and port.published_port:
            yield (port.protocol, port.published_port), one_address(port.host_ip)


@dataclass(slots=True)
class NetworkRoom:
    """One network's parts. `users` counts, by node, the tasks and unmanaged containers that are in it.

    `claims` are the nodes with users that have no part yet, `full` those whose part has no address left. `network` is
    None if there is no such network, and for the engines' own: these have no parts. No node has more users than
    `_most`, and every part has room for at least `_fewest`.
    """

    network: Network | None = None
    leases: Mapping[str, str] = field(default_factory=dict)
    users: dict[str, int] = field(default_factory=dict)
    claims: set[str] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    _subnet: str = ""
    _left: int | None = field(default=None, compare=False)
    _fewest: int = field(default=SMALLEST_PART, compare=False)
    _most: int = field(default=0, compare=False)

    @property
    def left(self) -> int:
        """How many parts are left for nodes that have none, claimed ones included; counted when first asked for."""
        if self._left is None:
            self._left = parts_left(self.network) if self.network is not None else 0
        return self._left

    def set_network(self, network: Network | None) -> None:
        """Set the network's record, which is new, changed or gone (None)."""
        self.network = network if network is not None and network.subnets else None
        self.leases = self.network.leases if self.network is not None else {}
        self._subnet = self.network.subnets[0].subnet if self.network is not None else ""
        self._left = None
        sizes = (containers_in(part, self._subnet) for part in self.leases.values())
        self._fewest = min(sizes, default=SMALLEST_PART)
        self._most = max(self.users.values(), default=0)
        self.claims = self.users.keys() - self.leases.keys()
        self.full = {node_id for node_id, count in self.users.items() if self._fills(node_id, count)}

    def hold(self, node_id: str, sign: int) -> None:
        """Add (`sign` 1) or take away (-1) one user on a node."""
        count = self.users.get(node_id, 0) + sign
        if sign > 0:
            self.users[node_id] = count
            if count == 1 and node_id not in self.leases:
                self.claims.add(node_id)
            if count > self._most:  # noqa: PLR1730 - the scheduler's innermost loop; max() costs a call
                self._most = count
            if count >= self._fewest and self._fills(node_id, count):
                self.full.add(node_id)
            return
        if count:
            self.users[node_id] = count
        else:
            del self.users[node_id]
            self.claims.discard(node_id)
        if node_id in self.full and not self._fills(node_id, count):
            self.full.discard(node_id)

    def _fills(self, node_id: str, count: int) -> bool:
        """Whether `count` users use all addresses of a node's part."""
        part = self.leases.get(node_id)
        return part is not None and count >= containers_in(part, self._subnet)

    def is_short(self, nodes: int, tasks: int = 1) -> bool:
        """Whether one of `nodes` nodes may have no room for one of `tasks` more tasks."""
        if self.network is None:
            return False
        return self._most + tasks > self._fewest or self.left < nodes - len(self.leases)

    def has_room_on(self, node_id: str) -> bool:
        """Whether the node has a part with room in it, has claimed one, or can get one."""
        if node_id in self.leases:
            return node_id not in self.full
        return node_id in self.claims or self.left > len(self.claims)

"""What the scheduler knows of one node's load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from common.model import Node, Task
from common.model.node import PlainContainers
from common.net.addressing import one_address
from manager.domain.reservations import reservations_of

PortKey: TypeAlias = tuple[str, int]
NO_PLAIN = PlainContainers()


class NodeLoad:
    """One node's share: `cpu` (billionths of a core) and `memory` (bytes) reserved, `total` tasks that count.

    `plain` is what its worker says of containers that are not tasks; the numbers include what they reserve.

    `node` is None while tasks of a node are left whose record is gone. `generic` holds the tasks that were given
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
        """Count these plain containers in place of the ones before."""
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

"""Whether a network has room for one more task on a node, in the part of it that the node has or can get.

The allocator gives a node its part when a task has come to it (`manager.allocate.attachments`). Until then the task
claims one: so no two nodes count on the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.model import Network
from manager.domain.network_parts import SMALLEST_PART, containers_in, parts_left


@dataclass(slots=True)
class NetworkRoom:
    """One network's parts. `users` counts, by node, the tasks and plain containers that are in it.

    `claims` are the nodes with users that have no part yet, `full` those whose part has no address left. `network` is
    None while there is no such network (any more), and for the engines' own: these have no parts. No node has more
    users than `_most`, no part room for fewer than `_fewest`.
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
        """How many parts there are for nodes that have none, claimed ones included. Looked for when it is asked."""
        if self._left is None:
            self._left = parts_left(self.network) if self.network is not None else 0
        return self._left

    def become(self, network: Network | None) -> None:
        """Take in the network's record, which is new, changed or gone."""
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
        """Whether so many users leave no address of a node's part."""
        part = self.leases.get(node_id)
        return part is not None and count >= containers_in(part, self._subnet)

    def is_short(self, nodes: int, tasks: int = 1) -> bool:
        """Whether one of so many nodes in all may have no room for one of so many tasks more."""
        if self.network is None:
            return False
        return self._most + tasks > self._fewest or self.left < nodes - len(self.leases)

    def has_room_on(self, node_id: str) -> bool:
        """Whether the node has a part, is to get one, or can, and there is room in it."""
        if node_id in self.leases:
            return node_id not in self.full
        return node_id in self.claims or self.left > len(self.claims)

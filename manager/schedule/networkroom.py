"""Whether a network has a part for one more node, which a task of it needs there (`manager.allocate.leases`).

The allocator gives a node its part when a task has come to it. Until then the task claims one: so no two nodes count on
the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.model import Network
from manager.state.networkparts import parts_left


@dataclass(slots=True)
class NetworkRoom:
    """One network's parts. `users` counts, by node, the tasks and plain containers that are in it.

    `claims` are the nodes with users that have no part yet. `network` is None while there is no such network (any
    more), and for the engines' own: these have no parts.
    """

    network: Network | None = None
    leases: Mapping[str, str] = field(default_factory=dict)
    users: dict[str, int] = field(default_factory=dict)
    claims: set[str] = field(default_factory=set)
    _left: int | None = field(default=None, compare=False)

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
        self._left = None
        self.claims = self.users.keys() - self.leases.keys()

    def hold(self, node_id: str, sign: int) -> None:
        """Add (`sign` 1) or take away (-1) one user on a node."""
        before = self.users.get(node_id, 0)
        if before + sign:
            self.users[node_id] = before + sign
            if not before and node_id not in self.leases:
                self.claims.add(node_id)
        else:
            del self.users[node_id]
            self.claims.discard(node_id)

    def is_short(self, nodes: int) -> bool:
        """Whether not every one of so many nodes in all can have a part."""
        return self.network is not None and self.left < nodes - len(self.leases)

    def has_part_for(self, node_id: str) -> bool:
        """Whether the node has a part, is to get one, or can."""
        return node_id in self.leases or node_id in self.claims or self.left > len(self.claims)

"""What the manager remembers of containers that no task stands for: where they were seen, and what is being made.

All of it may be lost: who is not found here is looked for on the nodes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

CAPACITY = 16_384
# A claim outlives the making of its container: a list that was asked for before may not have it yet.
CLAIM_SECONDS = 30.0
_SHORT = 12


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a host; `address` is empty for all addresses."""

    protocol: str
    number: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a container that is being made will have: its name in the cluster, its node's ports, CPU and memory."""

    node_id: str
    name: str = ""
    ports: tuple[Port, ...] = ()
    nano_cpus: int = 0
    memory: int = 0
    until: float = 0.0


@dataclass(slots=True)
class ContainerIndex:
    """Where containers and exec instances are, by their full ids, the least recently used forgotten first."""

    _nodes: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _full: dict[str, str] = field(default_factory=dict)
    _claims: list[Claim] = field(default_factory=list)

    def put(self, full_id: str, node_id: str) -> None:
        self._nodes[full_id] = node_id
        self._nodes.move_to_end(full_id)
        self._full[full_id[:_SHORT]] = full_id
        if len(self._nodes) > CAPACITY:
            self.forget(next(iter(self._nodes)))

    def forget(self, full_id: str) -> None:
        self._nodes.pop(full_id, None)
        if self._full.get(full_id[:_SHORT]) == full_id:
            del self._full[full_id[:_SHORT]]

    def find(self, reference: str) -> tuple[str, str] | None:
        """Return (node id, full id) of what a full id, or at least its first twelve digits, stands for."""
        full_id = self._full.get(reference[:_SHORT], "")
        if len(reference) < _SHORT or not full_id.startswith(reference):
            return None
        self._nodes.move_to_end(full_id)
        return self._nodes[full_id], full_id

    def claims(self, now: float) -> tuple[Claim, ...]:
        """Return what is being made, or was until a moment ago."""
        self._claims = [claim for claim in self._claims if claim.until > now]
        return tuple(self._claims)

    def claim(self, claim: Claim) -> None:
        self._claims.append(claim)

    def release(self, claim: Claim) -> None:
        """Give back at once what was claimed for a container that could not be made."""
        if claim in self._claims:
            self._claims.remove(claim)

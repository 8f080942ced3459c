"""What the manager remembers of containers that no task stands for: where they were seen, and what is being made.

All of it may be lost: who is not found here is looked for on the nodes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

CAPACITY = 16_384
_FINISHED = 1024
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


@dataclass(slots=True)
class ContainerIndex:
    """Where containers and exec instances are, by their full ids, the least recently used forgotten first."""

    _nodes: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _full: dict[str, str] = field(default_factory=dict)
    _claims: list[Claim] = field(default_factory=list)
    _finished: deque[tuple[float, Claim]] = field(default_factory=lambda: deque(maxlen=_FINISHED))

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

    def claims(self, since: float) -> tuple[Claim, ...]:
        """Return what is being made, and what was finished at or after `since`: lists asked for then may lack it."""
        return (*self._claims, *(claim for instant, claim in self._finished if instant >= since))

    def claim(self, claim: Claim) -> None:
        """Hold name and ports from now on. Give them back by `release`, or by `finish` when the container is there."""
        self._claims.append(claim)

    def finish(self, claim: Claim, now: float) -> None:
        self._claims.remove(claim)
        self._finished.append((now, claim))

    def release(self, claim: Claim) -> None:
        self._claims.remove(claim)

"""What the manager remembers of containers that are not tasks: which node has them, and which are being created.

All of it may be lost: what is not found here is looked for on the nodes.
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
    """What a container that is being created will have: its name in the cluster, its node's ports, CPU and memory."""

    node_id: str
    name: str = ""
    ports: tuple[Port, ...] = ()
    nano_cpus: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """The node that has a container; `made`: it was created there through this API, so no engine's word is needed."""

    node_id: str
    made: bool = False
    name: str = ""


@dataclass(slots=True)
class ContainerIndex:
    """Where containers and exec instances are, by their full ids, the least recently used forgotten first.

    A container stays with the node that was first seen with it, whatever others claim. `names` are those of
    containers that were made through this API.
    """

    _holders: OrderedDict[str, Holder] = field(default_factory=OrderedDict)
    _short: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _claims: list[Claim] = field(default_factory=list)
    _finished: deque[tuple[float, Claim]] = field(default_factory=lambda: deque(maxlen=_FINISHED))

    def put(self, full_id: str, node_id: str, *, made: bool = False, name: str = "") -> bool:
        """Remember where a container is; False where it is known to be on another node."""
        known = self._holders.get(full_id)
        if known is not None and known.node_id != node_id:
            return False
        if known is None:
            self._short[full_id[:_SHORT]] = (*self._short.get(full_id[:_SHORT], ()), full_id)
        if known is None or made:
            self._holders[full_id] = Holder(node_id, made, name)
        if name:
            self._names[name] = full_id
        self._holders.move_to_end(full_id)
        if len(self._holders) > CAPACITY:
            self.forget(next(iter(self._holders)))
        return True

    def rename(self, full_id: str, name: str) -> None:
        """Remember another name of a container that was made through this API."""
        known = self._holders.get(full_id)
        if known is not None and known.made:
            self.forget(full_id)
            self.put(full_id, known.node_id, made=True, name=name)

    def forget(self, full_id: str, node_id: str = "") -> None:
        """Forget a container; with a `node_id`, only where that is the node that has it."""
        known = self._holders.get(full_id)
        if known is None or node_id not in ("", known.node_id):
            return
        del self._holders[full_id]
        rest = tuple(each for each in self._short[full_id[:_SHORT]] if each != full_id)
        if rest:
            self._short[full_id[:_SHORT]] = rest
        else:
            del self._short[full_id[:_SHORT]]
        if self._names.get(known.name) == full_id:
            del self._names[known.name]

    def holder(self, full_id: str) -> Holder | None:
        """Return the holder of a container by its full id."""
        return self._holders.get(full_id)

    def find(self, reference: str) -> tuple[Holder, str] | None:
        """Return (holder, full id) of the one thing whose id begins with a reference of 12 digits or more."""
        if len(reference) < _SHORT:
            return None
        fitting = [each for each in self._short.get(reference[:_SHORT], ()) if each.startswith(reference)]
        if len(fitting) != 1:
            return None
        self._holders.move_to_end(fitting[0])
        return self._holders[fitting[0]], fitting[0]

    def named(self, name: str) -> tuple[Holder, str] | None:
        """Return (holder, full id) of the container that was given a name through this API, and may still have it."""
        full_id = self._names.get(name)
        return None if full_id is None else (self._holders[full_id], full_id)

    def claims(self, since: float) -> tuple[Claim, ...]:
        """Return what is being created, and what was finished since `since` (Unix seconds): older lists may lack it."""
        return (*self._claims, *(claim for instant, claim in self._finished if instant >= since))

    def claim(self, claim: Claim) -> None:
        """Reserve name and ports. Return them by `release`, or by `finish` when the container exists."""
        self._claims.append(claim)

    def finish(self, claim: Claim, now: float) -> None:
        self._claims.remove(claim)
        self._finished.append((now, claim))

    def release(self, claim: Claim) -> None:
        self._claims.remove(claim)

"""Arithmetic of reserved resources: what a task is sure to get, and what a node has left. Limits play no part.

Generic resources are counts (`disk=4`) or named things (`gpu=uuid1`) of a kind. A task asks for a count of a kind, and
is given either, or for one thing by its name; what it was given is in `Task.generic_resources`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from common.model import Node, Task
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec, Reservations

_NOTHING = Reservations()


def reservations_of(task: Task) -> Reservations:
    """Return what the task's spec reserves; all zero when it says nothing."""
    resources = task.spec.resources
    return (resources.reservations if resources else None) or _NOTHING


def requested_kinds(reservations: Reservations) -> Mapping[str, int]:
    """Return how many of each kind of generic resource are asked for, those by their names among them."""
    wanted: dict[str, int] = {}
    for resource in reservations.generic_resources:
        if (count := resource.discrete_resource_spec) is not None:
            wanted[count.kind] = wanted.get(count.kind, 0) + count.value
        if (thing := resource.named_resource_spec) is not None:
            wanted[thing.kind] = wanted.get(thing.kind, 0) + 1
    return wanted


def by_name(reservations: Reservations) -> Mapping[str, list[str]]:
    """Return the names of what is asked for by name, by kind."""
    wanted: dict[str, list[str]] = {}
    for resource in reservations.generic_resources:
        if (thing := resource.named_resource_spec) is not None:
            wanted.setdefault(thing.kind, []).append(thing.value)
    return wanted


@dataclass(slots=True)
class Available:
    """What a node has left; goes below zero when more is reserved than the node has (it may have shrunk).

    CPU in billionths of a core, memory in bytes, generic counts by kind, free named things by kind in a stable order.
    """

    nano_cpus: int = 0
    memory_bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Node, tasks: Iterable[Task] = ()) -> Available:
        """Return what `node` has left beside those of `tasks` that are placed."""
        resources = node.description.resources
        available = cls(resources.nano_cpus, resources.memory_bytes)
        available._add(resources.generic_resources)
        for task in tasks:
            if task.placed:
                available.take(task)
        return available

    def lacking(self, wanted: Reservations) -> str:
        """Name the first resource that `wanted` asks for and is not left; empty when all of it fits."""
        if wanted.nano_cpus > max(self.nano_cpus, 0):
            return "CPU"
        if wanted.memory_bytes > max(self.memory_bytes, 0):
            return "memory"
        missing = (kind for kind, names in by_name(wanted).items() if not set(names) <= set(self.names.get(kind, ())))
        return next(
            (kind for kind, count in requested_kinds(wanted).items() if count > self._free(kind)), next(missing, "")
        )

    def fits(self, wanted: Reservations) -> bool:
        return not self.lacking(wanted)

    def choose(self, wanted: Reservations) -> tuple[GenericResource, ...]:
        """Pick the generic resources for a task that fits: named things where the kind has them, else a count."""
        chosen: list[GenericResource] = []
        asked = by_name(wanted)
        for kind, count in requested_kinds(wanted).items():
            if free := self.names.get(kind):
                named = [value for value in asked.get(kind, ()) if value in free]
                chosen += [_named_resource(kind, value) for value in list(dict.fromkeys((*named, *free)))[:count]]
            elif count:
                chosen.append(_discrete_resource(kind, count))
        return tuple(chosen)

    def take(self, task: Task) -> None:
        """Subtract what a task holds, whether or not it fits."""
        wanted = reservations_of(task)
        self.nano_cpus -= wanted.nano_cpus
        self.memory_bytes -= wanted.memory_bytes
        for resource in task.generic_resources:
            if (count := resource.discrete_resource_spec) is not None:
                self.counts[count.kind] = self.counts.get(count.kind, 0) - count.value
            if (thing := resource.named_resource_spec) is not None and thing.value in self.names.get(thing.kind, ()):
                self.names[thing.kind].remove(thing.value)

    def give_back(self, task: Task) -> None:
        """Undo `take` for a task that was taken."""
        wanted = reservations_of(task)
        self.nano_cpus += wanted.nano_cpus
        self.memory_bytes += wanted.memory_bytes
        self._add(task.generic_resources)

    def _add(self, resources: Iterable[GenericResource]) -> None:
        for resource in resources:
            if (count := resource.discrete_resource_spec) is not None:
                self.counts[count.kind] = self.counts.get(count.kind, 0) + count.value
            if (thing := resource.named_resource_spec) is not None:
                self.names.setdefault(thing.kind, []).append(thing.value)

    def _free(self, kind: str) -> int:
        return len(self.names[kind]) if self.names.get(kind) else self.counts.get(kind, 0)


def _named_resource(kind: str, value: str) -> GenericResource:
    return GenericResource(named_resource_spec=NamedResourceSpec(kind=kind, value=value))


def _discrete_resource(kind: str, value: int) -> GenericResource:
    return GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind=kind, value=value))

"""Spread preferences: an even share for every value of a label, and for those within it of the next label.

The nodes form a tree of label values (swarmkit `scheduler/decision_tree.go`); nodes without a label are a branch of
their own. Each task goes down to the branch that has the fewest of its service, or to the next if that has no room.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from common.model import Node
from common.model.service import Placement
from manager.schedule.nodeload import NodeLoad
from manager.schedule.rank import Branch, Demand, Strategy

Levels: TypeAlias = tuple[str, ...]

_NODE_LABEL = "node.labels."
_ENGINE_LABEL = "engine.labels."


@dataclass(frozen=True, slots=True)
class Region:
    """Nodes that share the label values above them, and their division by the next label: none at the lowest level."""

    nodes: tuple[NodeLoad, ...]
    parts: Mapping[str, Region]


def levels_of(placement: Placement | None) -> Levels:
    """Return the descriptors of a placement's spread preferences that name labels; others divide nothing."""
    descriptors = [p.spread.spread_descriptor for p in (placement.preferences if placement else ()) if p.spread]
    return tuple(d for d in descriptors if d.lower().startswith((_NODE_LABEL, _ENGINE_LABEL)))


def divide(nodes: Iterable[NodeLoad], levels: Levels) -> Region:
    """Build the tree of `levels` over the nodes that have a record."""
    members = tuple(load for load in nodes if load.node is not None)
    if not levels:
        return Region(members, {})
    parts: dict[str, list[NodeLoad]] = {}
    for load in members:
        assert load.node is not None
        parts.setdefault(label_value(load.node, levels[0]), []).append(load)
    return Region(members, {value: divide(part, levels[1:]) for value, part in sorted(parts.items())})


def label_value(node: Node, descriptor: str) -> str:
    """Return what a node has for the label that a spread preference names; nothing when it lacks it."""
    if descriptor.lower().startswith(_NODE_LABEL):
        return node.spec.labels.get(descriptor[len(_NODE_LABEL) :], "")
    return node.description.engine.labels.get(descriptor[len(_ENGINE_LABEL) :], "")


def open_branch(region: Region, strategy: Strategy, demand: Demand) -> Branch:
    """Return the branch that places a group in a region, as the preferences want it."""
    if not region.parts:
        return strategy.among((load for load in region.nodes if load.open), demand)
    return _Fork(region, strategy, demand)


class _Fork:
    """Where the tree divides: parts in a heap by the service's tasks in them, equal ones by how full they are."""

    def __init__(self, region: Region, strategy: Strategy, demand: Demand) -> None:
        self._region = region
        self._strategy = strategy
        self._demand = demand
        self._branches: dict[str, Branch] = {}
        self._heap = [(*_fill(part, demand), value) for value, part in region.parts.items()]
        heapq.heapify(self._heap)

    def place(self, most: int) -> int:
        done = 0
        while done < most and self._heap:
            tasks, fullness, value = self._heap[0]
            if self._branch(value).place(1):
                heapq.heapreplace(self._heap, (tasks + 1, fullness, value))
                done += 1
            else:
                heapq.heappop(self._heap)
        return done

    def _branch(self, value: str) -> Branch:
        if value not in self._branches:
            self._branches[value] = open_branch(self._region.parts[value], self._strategy, self._demand)
        return self._branches[value]


def _fill(region: Region, demand: Demand) -> tuple[int, float]:
    """Return the service's tasks in the region, and all tasks a node there."""
    ours = sum(demand.counts.get(load.id, 0) for load in region.nodes) if demand.counts else 0
    return ours, sum(load.total for load in region.nodes) / len(region.nodes)

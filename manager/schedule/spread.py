"""Spread preferences: equal shares for the regions of the nodes' tree (swarmkit `scheduler/decision_tree.go`). Pure.

Nodes without a label are a region of their own. Each task goes to the region with the fewest of its service, or to the
next if that has no room.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from manager.schedule.rank import Branch, Demand, Strategy
from manager.schedule.regions import Region, RegionTree


def spread_over(tree: RegionTree, strategy: Strategy, demand: Demand) -> Branch:
    """Return the branch that places a group in the tree."""
    ours: dict[Region, int] = {}
    for node_id, count in demand.counts.items():
        for region in tree.path(node_id):
            ours[region] = ours.get(region, 0) + count
    return _branch_of(tree.root, ours, strategy, demand)


def _branch_of(region: Region, ours: Mapping[Region, int], strategy: Strategy, demand: Demand) -> Branch:
    return _Fork(region, ours, strategy, demand) if region.parts else strategy.within(region, demand)


class _Fork:
    """An inner region: its parts in a heap by the service's tasks in them, equal ones by how full they are.

    `ours` is how many of the service's tasks each region had at the start; regions without any are missing.
    """

    def __init__(self, region: Region, ours: Mapping[Region, int], strategy: Strategy, demand: Demand) -> None:
        self._region = region
        self._ours = ours
        self._strategy = strategy
        self._demand = demand
        self._branches: dict[str, Branch] = {}
        self._heap = [(ours.get(part, 0), part.fullness, value) for value, part in region.parts.items()]
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
            self._branches[value] = _branch_of(self._region.parts[value], self._ours, self._strategy, self._demand)
        return self._branches[value]

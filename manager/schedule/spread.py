"""Even shares for the parts of the nodes' tree (swarmkit `scheduler/decision_tree.go`), as spread preferences want it.

Nodes without a label are a part of their own. Each task goes down to the part that has the fewest of its service,
or to the next if that has no room. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from manager.schedule.rank import Branch, Demand, Strategy
from manager.schedule.regions import Division, Region


def spread_over(division: Division, strategy: Strategy, demand: Demand) -> Branch:
    """Return the branch that places a group in the tree."""
    ours: dict[Region, int] = {}
    for node_id, count in demand.counts.items():
        for region in division.path(node_id):
            ours[region] = ours.get(region, 0) + count
    return _open(division.root, ours, strategy, demand)


def _open(region: Region, ours: Mapping[Region, int], strategy: Strategy, demand: Demand) -> Branch:
    return _Fork(region, ours, strategy, demand) if region.parts else strategy.within(region, demand)


class _Fork:
    """Where the tree divides: parts in a heap by the service's tasks in them, equal ones by how full they are.

    `ours` says how many of the service's tasks each region had at the start; one that has none is not in it.
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
            self._branches[value] = _open(self._region.parts[value], self._ours, self._strategy, self._demand)
        return self._branches[value]

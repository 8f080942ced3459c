"""Which of the nodes that would take a task gets it. A strategy is one class; the scheduler knows no more of it.

`Spread` is Swarm's (`scheduler/scheduler.go`): nodes where the service keeps failing go last, then the fewest tasks
of the service win, then the fewest tasks in total.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from manager.schedule.load import ClusterLoad, NodeLoad


@dataclass(frozen=True, slots=True)
class Demand:
    """A group of like tasks that look for nodes.

    `accepts` says whether a node takes one more; `give` places the next task there, and the node's load grows at once.
    `counts` are the service's tasks by node at the start, `failing` the nodes where it keeps failing.
    """

    accepts: Callable[[NodeLoad], bool]
    give: Callable[[NodeLoad], None]
    counts: Mapping[str, int]
    failing: AbstractSet[str]


class Branch(Protocol):
    """Nodes to choose among, for one group in one decision."""

    def place(self, most: int) -> int:
        """Give up to `most` tasks to the best nodes; return how many: fewer only when no node takes another."""


class Strategy(Protocol):
    """How to rank. The nodes that are offered take tasks in general; whether one takes these is asked of `demand`."""

    def everywhere(self, load: ClusterLoad, demand: Demand) -> Branch:
        """Choose among all nodes; the branch is good for one `place`."""

    def among(self, nodes: Iterable[NodeLoad], demand: Demand) -> Branch:
        """Choose among these nodes, again and again."""


class Spread:
    """Even out: first the service's tasks over the nodes, then all tasks."""

    def everywhere(self, load: ClusterLoad, demand: Demand) -> Branch:
        known = demand.counts.keys() | demand.failing if demand.failing else demand.counts.keys()
        return _Water(load.by_total(), [load.nodes[node_id] for node_id in known], demand)

    def among(self, nodes: Iterable[NodeLoad], demand: Demand) -> Branch:
        ordered = sorted(nodes, key=lambda node: (node.total, node.id))
        known = [node for node in ordered if node.id in demand.counts or node.id in demand.failing]
        return _Water(iter(ordered), known, demand)


class _Water:
    """Fill nodes as water would.

    First the fresh ones, which have no task of the service: each once, taken lazily in their order. Then a heap of
    the rest. A node that refuses is dropped: loads only grow within a decision, so it would refuse again.
    """

    def __init__(self, ordered: Iterator[NodeLoad], known: list[NodeLoad], demand: Demand) -> None:
        self._demand = demand
        known_ids = {node.id for node in known}
        self._fresh = (node for node in ordered if node.id not in known_ids) if known_ids else ordered
        self._heap = [
            (node.id in demand.failing, demand.counts.get(node.id, 0), node.total, node.id, node)
            for node in known
            if node.open
        ]
        heapq.heapify(self._heap)

    def place(self, most: int) -> int:
        picked = self._pick_fresh(most)
        for node in picked:  # only now: what `_fresh` walks must not change under it
            self._demand.give(node)
            heapq.heappush(self._heap, (False, 1, node.total, node.id, node))
        done = len(picked)
        while done < most and self._heap:
            failing, count, _, node_id, node = heapq.heappop(self._heap)
            if self._demand.accepts(node):
                self._demand.give(node)
                heapq.heappush(self._heap, (failing, count + 1, node.total, node_id, node))
                done += 1
        return done

    def _pick_fresh(self, most: int) -> list[NodeLoad]:
        picked: list[NodeLoad] = []
        if most:
            accepts = self._demand.accepts
            for node in self._fresh:
                if accepts(node):
                    picked.append(node)
                    if len(picked) == most:
                        break
        return picked

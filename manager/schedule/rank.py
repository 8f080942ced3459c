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

from manager.schedule.load import ClusterLoad
from manager.schedule.nodeload import NodeLoad


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


class Biased:
    """As `Spread`, but a node's `bias` counts as so many more (or fewer) tasks of the service there."""

    def __init__(self, bias: Mapping[str, int]) -> None:
        self._bias = bias

    def everywhere(self, load: ClusterLoad, demand: Demand) -> Branch:
        return self.among(load.by_total(), demand)

    def among(self, nodes: Iterable[NodeLoad], demand: Demand) -> Branch:
        return _Ranked(nodes, demand, lambda node, count: (count + self._bias.get(node.id, 0), node.total))


class Binpack:
    """Fill the fullest node that has room before the next: by `bias`, then by what is reserved there, then by tasks."""

    def __init__(self, bias: Mapping[str, int]) -> None:
        self._bias = bias

    def everywhere(self, load: ClusterLoad, demand: Demand) -> Branch:
        return self.among(load.by_total(), demand)

    def among(self, nodes: Iterable[NodeLoad], demand: Demand) -> Branch:
        return _Ranked(nodes, demand, lambda node, _: (self._bias.get(node.id, 0), -_reserved(node), -node.total))


def _reserved(load: NodeLoad) -> float:
    """Return the share of the node that is reserved: of its CPU or its memory, whichever is scarcer."""
    if load.node is None:
        return 0.0
    has = load.node.description.resources
    parts = ((load.cpu, has.nano_cpus), (load.memory, has.memory_bytes))
    return max((used / total for used, total in parts if total), default=0.0)


class _Ranked:
    """Nodes in a heap by a rank that changes with each task they get: the lowest takes the next task."""

    def __init__(
        self, nodes: Iterable[NodeLoad], demand: Demand, rank: Callable[[NodeLoad, int], tuple[float, ...]]
    ) -> None:
        self._demand = demand
        self._rank = rank
        self._heap = [self._entry(node, demand.counts.get(node.id, 0)) for node in nodes]
        heapq.heapify(self._heap)

    def _entry(self, node: NodeLoad, count: int) -> tuple[bool, tuple[float, ...], str, int, NodeLoad]:
        return node.id in self._demand.failing, self._rank(node, count), node.id, count, node

    def place(self, most: int) -> int:
        done = 0
        while done < most and self._heap:
            _, _, _, count, node = heapq.heappop(self._heap)
            if self._demand.accepts(node):
                self._demand.give(node)
                heapq.heappush(self._heap, self._entry(node, count + 1))
                done += 1
        return done

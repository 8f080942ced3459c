"""Ranking: which of the nodes that accept a task gets it. A strategy is one class, and the scheduler needs no more.

`Spread` is Swarm's (`scheduler/scheduler.go`): nodes where the service keeps failing go last, then the fewest tasks
of the service win, then the fewest tasks in total.

A service's strategy is its own or the cluster's.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from common.model import Service
from common.model.service import EXTENSION_PREFIX
from common.spec import extensions
from manager.schedule.load import ClusterLoad
from manager.schedule.node_load import NodeLoad
from manager.schedule.regions import Region
from manager.store.view import View


@dataclass(slots=True)
class Demand:
    """A group of like tasks that need nodes.

    `accepts` says whether a node takes one more; `assign` places the next task there, and the node's load grows at
    once. `counts` are the service's tasks by node at the start, `failing` the nodes where it keeps failing.
    """

    accepts: Callable[[NodeLoad], bool]
    assign: Callable[[NodeLoad], None]
    counts: Mapping[str, int]
    failing: AbstractSet[str]


class Branch(Protocol):
    """Nodes to choose among, for one group in one decision."""

    def place(self, most: int) -> int:
        """Assign up to `most` tasks to the best nodes; return how many: fewer only if no node takes another."""


class Strategy(Protocol):
    """How nodes are ranked. All nodes that are offered are open; `demand` says whether one accepts these tasks."""

    def within(self, region: Region, demand: Demand) -> Branch:
        """Choose among the nodes of a lowest region. The branch is valid until the tree is updated."""

    def among(self, nodes: Iterable[NodeLoad], demand: Demand) -> Branch:
        """Choose among these nodes, which are few."""


class Spread:
    """Spread evenly: first the service's tasks over the nodes, then all tasks."""

    def within(self, region: Region, demand: Demand) -> Branch:
        return _WaterFilling(region, region.open, demand)

    def among(self, nodes: Iterable[NodeLoad], demand: Demand) -> Branch:
        ordered = sorted(nodes, key=lambda node: (node.total, node.id))
        return _WaterFilling(ordered, {node.id: node for node in ordered}, demand)


class _WaterFilling:
    """Water-filling: the least loaded node gets the next task.

    First each node without a task of the service, lazily in order of their load; then a heap of the others. A node that
    refuses is dropped: loads only grow within a decision, so it would refuse again.
    """

    def __init__(self, ordered: Iterable[NodeLoad], nodes: Mapping[str, NodeLoad], demand: Demand) -> None:
        self._demand = demand
        self._nodes = nodes
        self._fresh = iter(ordered)
        self._heap: list[tuple[bool, int, int, str, NodeLoad]] | None = None
        self._filled: list[NodeLoad] = []

    def place(self, most: int) -> int:
        done = self._place_fresh(most) if most and self._heap is None else 0
        return done if done == most else done + self._place_again(most - done)

    def _place_fresh(self, most: int) -> int:
        demand = self._demand
        done = 0
        for node in self._fresh:
            if node.id in demand.counts or node.id in demand.failing or not demand.accepts(node):
                continue
            demand.assign(node)
            self._filled.append(node)
            done += 1
            if done == most:
                break
        return done

    def _place_again(self, most: int) -> int:
        if self._heap is None:
            self._heap = self._rest()
        heap, demand = self._heap, self._demand
        done = 0
        while done < most and heap:
            failing, count, _, node_id, node = heapq.heappop(heap)
            if demand.accepts(node):
                demand.assign(node)
                heapq.heappush(heap, (failing, count + 1, node.total, node_id, node))
                done += 1
        return done

    def _rest(self) -> list[tuple[bool, int, int, str, NodeLoad]]:
        """Return the heap of nodes that have tasks of the service now, or where it keeps failing."""
        counts, failing = self._demand.counts, self._demand.failing
        known = [node for node_id in counts.keys() | failing if (node := self._nodes.get(node_id)) is not None]
        heap = [(node.id in failing, counts.get(node.id, 0), node.total, node.id, node) for node in known]
        heap += [(False, 1, node.total, node.id, node) for node in self._filled]
        heapq.heapify(heap)
        return heap


class Biased:
    """Like `Spread`, but a node's `bias` counts as that many more (or fewer) tasks of the service there."""

    def __init__(self, bias: Mapping[str, int]) -> None:
        self._bias = bias

    def within(self, region: Region, demand: Demand) -> Branch:
        return self.among(region, demand)

    def among(self, nodes: Iterable[NodeLoad], demand: Demand) -> Branch:
        return _Ranked(nodes, demand, lambda node, count: (count + self._bias.get(node.id, 0), node.total))


class Binpack:
    """Fill the fullest node that has room before the next: by `bias`, then by reserved share, then by tasks."""

    def __init__(self, bias: Mapping[str, int]) -> None:
        self._bias = bias

    def within(self, region: Region, demand: Demand) -> Branch:
        return self.among(region, demand)

    def among(self, nodes: Iterable[NodeLoad], demand: Demand) -> Branch:
        return _Ranked(nodes, demand, lambda node, _: (self._bias.get(node.id, 0), -_reserved_share(node), -node.total))


def _reserved_share(load: NodeLoad) -> float:
    """Return the share of the node that is reserved: of its CPU or its memory, whichever is scarcer."""
    if load.node is None:
        return 0.0
    resources = load.node.description.resources
    parts = ((load.cpu, resources.nano_cpus), (load.memory, resources.memory_bytes))
    return max((used / total for used, total in parts if total), default=0.0)


class _Ranked:
    """Nodes in a heap by a rank that changes with each task: the lowest rank takes the next one."""

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
                self._demand.assign(node)
                heapq.heappush(self._heap, self._entry(node, count + 1))
                done += 1
        return done


BINPACK = "binpack"


def default_strategy(view: View) -> str:
    """Return the cluster's strategy by its name."""
    found = next(iter(view.clusters), None)
    return extensions.read_cluster(found.spec.labels).strategy if found is not None else "spread"


def has_special_strategy(service: Service, default: str) -> bool:
    """Whether the service has a strategy other than an even spread."""
    labels = service.spec.labels
    if not labels or not any(label.startswith(EXTENSION_PREFIX) for label in labels):
        return default == BINPACK
    wanted = extensions.of(service)
    return (wanted.strategy or default) == BINPACK or bool(wanted.affinity or wanted.anti_affinity)


def strategy_of(service: Service, view: View, load: ClusterLoad, default: str) -> Strategy:
    """Choose the strategy for the tasks of a `has_special_strategy` service, for the present load."""
    wanted = extensions.of(service)
    bias = _bias(view, load, wanted.affinity, wanted.anti_affinity)
    return Binpack(bias) if (wanted.strategy or default) == BINPACK else Biased(bias)


def _bias(
    view: View, load: ClusterLoad, affinity: Mapping[str, int], anti_affinity: Mapping[str, int]
) -> dict[str, int]:
    """Return a node's bias by id, counted in tasks of the service: positive speaks against it, negative for it."""
    bias: dict[str, int] = {}
    for names, sign in ((affinity, -1), (anti_affinity, 1)):
        for name, weight in names.items():
            there = {node_id for other in view.services.named(name) for node_id in load.counts(other.id)}
            for node_id in there:
                bias[node_id] = bias.get(node_id, 0) + sign * weight
    return bias

"""Trees of nodes by the values of labels, with the load of each region, updated as tasks come and go.

Spread preferences name the labels over whose values a service's tasks are spread, the first level first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from common.model import Node
from common.model.service import Placement
from manager.schedule.node_load import NodeLoad

PathOf: TypeAlias = Callable[[NodeLoad], tuple[str, ...] | None]
"""Where a node belongs, by its record only: the region's name at each level; None if it is in no region."""

Levels: TypeAlias = tuple[str, ...]
_NODE_LABEL = "node.labels."
_ENGINE_LABEL = "engine.labels."


class Region:
    """A set of nodes, and the `parts` that it is divided into, by name: none at the lowest level.

    `size` counts the nodes, `total` the tasks on them. The lowest regions know which nodes take tasks (`open`, by id).
    """

    __slots__ = ("_order", "name", "open", "parts", "size", "total")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.parts: dict[str, Region] = {}
        self.size = 0
        self.total = 0
        self.open: dict[str, NodeLoad] = {}
        self._order = BucketQueue()

    @property
    def fullness(self) -> float:
        """Tasks per node."""
        return self.total / self.size

    def __iter__(self) -> Iterator[NodeLoad]:
        """Iterate over the nodes of a lowest region that take tasks, the emptiest first."""
        return map(self.open.__getitem__, self._order)

    def part(self, name: str) -> Region:
        """Return the part of that name, created if missing."""
        part = self.parts.get(name)
        if part is None:
            part = self.parts[name] = Region(name)
        return part

    def add(self, load: NodeLoad) -> None:
        """Add a node to a lowest region."""
        self.open[load.id] = load
        self._order.add(load.id, load.total)

    def discard(self, node_id: str, total: int) -> None:
        """Remove a node, recorded with `total` tasks, if it is in the region."""
        if self.open.pop(node_id, None) is not None:
            self._order.discard(node_id, total)

    def move(self, node_id: str, total: int, to: int) -> None:
        """Change a node's number of tasks from `total` to `to`."""
        if node_id in self.open:
            self._order.move(node_id, total, to)


@dataclass(slots=True)
class _Place:
    """A node's path in the tree, from the root (empty: it is in no region), and the record and total counted there."""

    path: tuple[Region, ...]
    node: Node
    total: int


class RegionTree:
    """The tree of regions that `path_of` makes of nodes with a record: of none but the root where all paths are empty.

    What becomes of a node's load is only noted until the tree is used (`update`): a decision counts its tasks, takes
    them back, and they count again when they are stored, which is one step in the tree.
    """

    def __init__(self, path_of: PathOf, loads: Iterable[NodeLoad]) -> None:
        self._path_of = path_of
        self.root = Region()
        self._places: dict[str, _Place] = {}
        self._touched = {load.id: load for load in loads}

    def touch(self, load: NodeLoad) -> None:
        """Note that a node's total or record has changed, or that it is gone."""
        self._touched[load.id] = load

    @property
    def idle(self) -> bool:
        """Whether the tree was not used for so long that every node may have changed."""
        return len(self._touched) >= len(self._places)

    def update(self) -> int:
        """Bring the tree up to date; not during an iteration. Return the cost: how many nodes were looked at."""
        looked_at = len(self._touched)
        for load in self._touched.values():
            place = self._places.get(load.id)
            if place is None or place.node is not load.node:
                self._replace(load)
            elif place.total != load.total and place.path:
                for region in place.path:
                    region.total += load.total - place.total
                place.path[-1].move(load.id, place.total, load.total)
                place.total = load.total
        self._touched.clear()
        return looked_at

    def path(self, node_id: str) -> tuple[Region, ...]:
        """Return the regions that a node is in, the root first; empty if it is in none."""
        place = self._places.get(node_id)
        return place.path if place is not None else ()

    def _replace(self, load: NodeLoad) -> None:
        place = self._places.pop(load.id, None)
        if place is not None and place.path:
            self._take_out(load.id, place)
        if load.node is not None:
            names = self._path_of(load)
            path = self._put_in(load, names) if names is not None else ()
            self._places[load.id] = _Place(path, load.node, load.total)

    def _put_in(self, load: NodeLoad, names: tuple[str, ...]) -> tuple[Region, ...]:
        path = [self.root]
        for name in names:
            path.append(path[-1].part(name))
        for region in path:
            region.size += 1
            region.total += load.total
        if load.open:
            path[-1].add(load)
        return tuple(path)

    def _take_out(self, node_id: str, place: _Place) -> None:
        place.path[-1].discard(node_id, place.total)
        above = None
        for region in place.path:
            region.size -= 1
            region.total -= place.total
            if above is not None and not region.size:
                del above.parts[region.name]
            above = region


# --- nodes by number of tasks: the queue from which the scheduler takes the emptiest ---


class BucketQueue:
    """Keys by a small non-negative number, cheap to move by one and to iterate over from the lowest.

    One sorted bucket per number, so the order depends on the content only, never on the history: two managers that know
    the same decide the same.
    """

    __slots__ = ("_buckets", "_lowest")

    def __init__(self) -> None:
        self._buckets: list[list[str]] = []
        self._lowest = 0

    def add(self, key: str, number: int) -> None:
        while number >= len(self._buckets):
            self._buckets.append([])
        insort(self._buckets[number], key)
        self._lowest = min(self._lowest, number)

    def discard(self, key: str, number: int) -> None:
        """Remove `key`, which is at `number`."""
        bucket = self._buckets[number]
        position = bisect_left(bucket, key)
        assert bucket[position] == key, f"{key} is not ordered at {number}"
        del bucket[position]

    def move(self, key: str, number: int, to: int) -> None:
        """Move `key`, which is at `number`, to another number."""
        self.discard(key, number)
        self.add(key, to)

    def __iter__(self) -> Iterator[str]:
        """Iterate from the lowest number, equal numbers by key. The queue must not change meanwhile."""
        buckets = self._buckets
        while self._lowest < len(buckets) and not buckets[self._lowest]:
            self._lowest += 1
        for number in range(self._lowest, len(buckets)):
            yield from buckets[number]


def levels_of(placement: Placement | None) -> Levels:
    """Return the descriptors of a placement's spread preferences that name labels; others divide nothing."""
    if placement is None or not placement.preferences:
        return ()
    descriptors = [each.spread.spread_descriptor for each in placement.preferences if each.spread]
    return tuple(each for each in descriptors if each.lower().startswith((_NODE_LABEL, _ENGINE_LABEL)))


def label_values(node: Node, levels: Levels) -> tuple[str, ...]:
    """Return a node's value of each label."""
    return tuple(label_value(node, level) for level in levels)


def label_value(node: Node, descriptor: str) -> str:
    """Return a node's value of the label that a spread preference names; empty if it lacks the label."""
    if descriptor.lower().startswith(_NODE_LABEL):
        return node.spec.labels.get(descriptor[len(_NODE_LABEL) :], "")
    return node.description.engine.labels.get(descriptor[len(_ENGINE_LABEL) :], "")

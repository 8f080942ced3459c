"""The scheduler's index of the nodes' load, updated with each change of the store.

It depends on the store's objects only: an index fed with every change equals one that is built from the whole state
(`tests/prop/test_load.py`). With it, placing a task costs the same with 100 tasks in the cluster and with 100,000.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeAlias

from msgspec.structs import replace

from common.model import (
    Network,
    NetworkAttachment,
    Node,
    StoredObject,
    Task,
    TaskState,
    Transfer,
    Volume,
    VolumeClaim,
)
from common.model.node import PlainContainers
from common.spec.constraints import reader
from manager.schedule.node_load import NO_PLAIN, NetworkRoom, NodeLoad
from manager.schedule.regions import Levels, RegionTree, label_values
from manager.store.changes import Change
from manager.store.view import View

Group: TypeAlias = tuple[str, int]
"""Tasks that are placed alike: a service's id and its spec version."""

_COMPLETE = TaskState.COMPLETE
_MOST_REMEMBERED = 4096
_MAX_TREES = 16
_REMEMBERED = frozenset({"_suitable", "_by_attribute", "_trees", "everywhere"})
_FAILED = frozenset({TaskState.FAILED, TaskState.REJECTED})
_MOST_PLAIN = 10_000


def available(node: Node) -> bool:
    """Whether the node takes new tasks at all."""
    return node.agent and node.status.state == "ready" and node.spec.availability == "active"


def load_of(view: View) -> list[StoredObject]:
    """Return the objects that load depends on, in the order in which `ClusterLoad.add_all` needs them."""
    return [*view.networks, *view.nodes, *view.attachments, *view.tasks]


def group_of(task: Task) -> Group:
    return task.service_id, task.spec_version


def waiting(task: Task) -> bool:
    """Whether the scheduler should place the task now: its addresses are allocated, and it is still wanted."""
    return task.status.state == TaskState.PENDING and task.desired_state <= _COMPLETE and not task.held_back


class ClusterLoad:
    """The load of all nodes, the tasks that wait, and where services failed lately. Only `apply` changes it."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeLoad] = {}
        self.pending: dict[Group, dict[str, Task]] = {}
        self.networks: dict[str, NetworkRoom] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._failures: dict[Group, dict[str, dict[str, float]]] = {}
        self._suitable: dict[Hashable, tuple[NodeLoad, ...]] = {}
        self._by_attribute: dict[str, dict[str, list[NodeLoad]]] = {}
        self.everywhere = RegionTree(_record_region, ())
        self._trees: dict[Hashable, RegionTree] = {}

    @classmethod
    def of(cls, view: View) -> ClusterLoad:
        """Build the load of a whole state."""
        load = cls()
        load.add_all(load_of(view))
        return load

    def add_all(self, values: Iterable[StoredObject]) -> None:
        """Add objects, as `load_of` returns them and in its order."""
        for value in values:
            self.apply(Change(old=None, new=value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClusterLoad):
            return False
        return all(getattr(self, name) == getattr(other, name) for name in vars(self) if name not in _REMEMBERED)

    __hash__ = None  # type: ignore[assignment]

    def counts(self, service_id: str) -> dict[str, int]:
        """Return how many tasks of the service count on each node that has one; do not change it."""
        return self._counts.get(service_id, {})

    def failing(self, group: Group, since: float, limit: int) -> frozenset[str]:
        """Return the nodes on which at least `limit` tasks of the group failed at or after `since` (Unix seconds)."""
        by_node = self._failures.get(group)
        if not by_node:
            return frozenset()
        return frozenset(
            node_id
            for node_id, failures in by_node.items()
            if len(failures) >= limit and sum(instant >= since for instant in failures.values()) >= limit
        )

    def suitable_nodes(
        self,
        key: Hashable,
        suits: Callable[[NodeLoad], bool],
        wanted: Callable[[], tuple[str, str] | None] = lambda: None,
    ) -> tuple[NodeLoad, ...]:
        """Return the nodes for which `suits`, which `key` names, is true; it may depend on their records only.

        Cached until a node changes, as many services may each be bound to a node of their own. If `wanted` returns
        (attribute, value), only the nodes that have this value are asked.
        """
        found = self._suitable.get(key)
        if found is None:
            if len(self._suitable) >= _MOST_REMEMBERED:
                self._suitable.clear()
            must = wanted()
            asked = self.nodes.values() if must is None else self._nodes_with(*must)
            found = self._suitable[key] = tuple(load for load in asked if load.node and suits(load))
        return found

    def _nodes_with(self, attribute: str, value: str) -> Iterable[NodeLoad]:
        """Return the nodes with a value of a constraint's attribute; indexed when the attribute is first asked for."""
        index = self._by_attribute.get(attribute)
        if index is None:
            index = self._by_attribute[attribute] = {}
            read = reader(attribute)
            for load in self.nodes.values():
                if load.node is not None:
                    index.setdefault(read(load.node).casefold(), []).append(load)
        return index.get(value, ())

    def tree_by(self, levels: Levels) -> RegionTree:
        """Return the tree of these labels' values over all nodes. Update it before use."""
        found = self._trees.get(levels)
        if found is None:
            found = RegionTree(lambda load: label_values(load.node, levels) if load.node else None, self.nodes.values())
            if self._has_room_for_tree():
                self._trees[levels] = found
        return found

    def suitable_tree(self, key: Hashable, suits: Callable[[NodeLoad], bool]) -> RegionTree | None:
        """Return the nodes that `suits` accepts, as in `suitable_nodes`, as one region; None if trees are too many."""
        found = self._trees.get(("suitable", key))
        if found is None and self._has_room_for_tree():
            found = RegionTree(lambda load: () if load.node and suits(load) else None, self.nodes.values())
            self._trees["suitable", key] = found
        return found

    def _has_room_for_tree(self) -> bool:
        """Whether there is room for one more tree; unused ones are dropped first if there are too many."""
        if len(self._trees) == _MAX_TREES:
            self._trees = {key: each for key, each in self._trees.items() if not each.idle}
        return len(self._trees) < _MAX_TREES

    def by_total(self) -> Iterator[NodeLoad]:
        """Iterate over the nodes that take tasks, the emptiest first. Only one such iteration may run at a time."""
        self.everywhere.update()
        return iter(self.everywhere.root)

    def apply(self, change: Change) -> bool:
        """Apply one change; return whether it could let a task be placed that found no node before."""
        old, new = change.old, change.new
        if isinstance(change.current, Task):
            assert old is None or isinstance(old, Task)
            assert new is None or isinstance(new, Task)
            return self._apply_task(old, new)
        if isinstance(change.current, Node):
            assert new is None or isinstance(new, Node)
            return self._apply_node(change.current.id, new)
        if isinstance(change.current, Network):
            assert new is None or isinstance(new, Network)
            return self._apply_network(change.current.id, new)
        if isinstance(change.current, Transfer | Volume | VolumeClaim):
            return _frees_data(change)
        for attachment, sign in ((old, -1), (new, 1)):
            if isinstance(attachment, NetworkAttachment) and attachment.live:
                for each in attachment.networks:
                    self._count_user(each.target, attachment.node_id, sign)
        return isinstance(old, NetworkAttachment) and old.live

    def leave_out_plain(self, node_id: str) -> None:
        """Drop a node's unmanaged containers, for a caller that knows newer ones and adds them itself."""
        load = self.nodes.get(node_id)
        if load is not None:
            load.set_plain(NO_PLAIN)
            self._touch(load)

    def add(self, task: Task) -> None:
        """Count a placed task's load, as `apply` will when it is stored. Undone by `take_away`."""
        self._account_for(task, 1)

    def take_away(self, task: Task) -> None:
        self._account_for(task, -1)

    def _apply_task(self, old: Task | None, new: Task | None) -> bool:
        freed = False
        if old is None or new is None or not _same_weight(old, new):
            freed = old is not None and old.placed
            if old is not None:
                self._remove_task(old)
            if new is not None:
                self._add_task(new)
        elif waiting(new):
            self.pending[group_of(new)][new.id] = new
        elif new.id in (holders := self._holders(new)):
            holders[new.id] = new
        return freed

    def _add_task(self, task: Task) -> None:
        if task.placed:
            self._account_for(task, 1)
        elif waiting(task):
            self.pending.setdefault(group_of(task), {})[task.id] = task
        elif task.status.state in _FAILED and task.node_id:
            by_node = self._failures.setdefault(group_of(task), {})
            by_node.setdefault(task.node_id, {})[task.id] = task.updated_at  # by the manager's clock

    def _remove_task(self, task: Task) -> None:
        group = group_of(task)
        if task.placed:
            self._account_for(task, -1)
        elif waiting(task):
            del self.pending[group][task.id]
            if not self.pending[group]:
                del self.pending[group]
        elif task.status.state in _FAILED and task.node_id:
            by_node = self._failures[group]
            del by_node[task.node_id][task.id]
            if not by_node[task.node_id]:
                del by_node[task.node_id]
            if not by_node:
                del self._failures[group]

    def _holders(self, task: Task) -> dict[str, Task]:
        load = self.nodes.get(task.node_id)
        return load.generic if load is not None else {}

    def _account_for(self, task: Task, sign: int) -> None:
        load = self.nodes.get(task.node_id)
        if load is None:
            load = self.nodes[task.node_id] = NodeLoad(task.node_id)
        load.hold(task, sign)
        for each in task.spec.networks:
            self._count_user(each.target, load.id, sign)
        if task.desired_state <= _COMPLETE:
            self._count(task, load, sign)
        if load.node is None:
            self._drop_if_empty(load)

    def _count_user(self, network_id: str, node_id: str, sign: int) -> None:
        """Count one more (`sign` 1) or one fewer (-1) user of a network on a node."""
        room = self.networks.get(network_id)
        if room is None:
            room = self.networks[network_id] = NetworkRoom()
        room.hold(node_id, sign)
        if sign < 0 and not room.users and room.network is None:
            del self.networks[network_id]

    def _count(self, task: Task, load: NodeLoad, sign: int) -> None:
        load.total += sign
        self._touch(load)
        counts = self._counts.get(task.service_id)
        if counts is None:
            counts = self._counts[task.service_id] = {}
        count = counts.get(load.id, 0) + sign
        if count:
            counts[load.id] = count
        else:
            del counts[load.id]
            if not counts:
                del self._counts[task.service_id]

    def _apply_node(self, node_id: str, node: Node | None) -> bool:
        load = self.nodes.get(node_id)
        if load is None:
            load = self.nodes[node_id] = NodeLoad(node_id)
        if _record(load.node) != _record(node):
            self._suitable.clear()
            self._by_attribute.clear()
        load.node = node
        load.set_plain(_plain(node))
        load.open = node is not None and available(node)
        self._touch(load)
        self._drop_if_empty(load)
        return load.open

    def _apply_network(self, network_id: str, network: Network | None) -> bool:
        room = self.networks.setdefault(network_id, NetworkRoom())
        was_short = room.is_short(len(self.nodes))
        room.set_network(network)
        if not room.users and room.network is None:
            del self.networks[network_id]
        return was_short

    def _touch(self, load: NodeLoad) -> None:
        self.everywhere.touch(load)
        for tree in self._trees.values():
            tree.touch(load)

    def _drop_if_empty(self, load: NodeLoad) -> None:
        if load.node is None and not load.tasks:
            self.nodes.pop(load.id, None)


def _frees_data(change: Change) -> bool:
    """Whether a change of a volume, claim or transfer could let a task be placed that waits for its data."""
    old, new = change.old, change.new
    if isinstance(old, Volume) and isinstance(new, Volume):
        return replace(old, size=new.size, version=new.version, updated_at=new.updated_at) != new
    # A claim that is bound from the first says where the data is; others come with the task that they are of.
    return old is not None or isinstance(new, Volume) or (isinstance(new, VolumeClaim) and new.bound)


def _plain(node: Node | None) -> PlainContainers:
    """Return a node's unmanaged containers within sane bounds, whatever its worker says."""
    if node is None or node.description.plain == NO_PLAIN:
        return NO_PLAIN
    said = node.description.plain
    return PlainContainers(
        count=min(max(said.count, 0), _MOST_PLAIN),
        nano_cpus=max(said.nano_cpus, 0),
        memory_bytes=max(said.memory_bytes, 0),
    )


def _record_region(load: NodeLoad) -> tuple[str, ...] | None:
    """Put all nodes that have a record into one region."""
    return () if load.node is not None else None


def _record(node: Node | None) -> tuple[object, ...]:
    """Return the parts of a node that filters read besides its load and its readiness."""
    if node is None:
        return ()
    return node.spec, replace(node.description, plain=NO_PLAIN), node.status.addr


def _same_weight(old: Task, new: Task) -> bool:
    """Whether two states of a task are the same to the load, so that there is nothing to account for."""
    return old.node_id == new.node_id and _weight(old) == _weight(new)


def _weight(task: Task) -> tuple[object, ...]:
    """Return what the load depends on, of a task that stays on its node."""
    state = task.status.state
    if state >= _COMPLETE:
        failed = state in _FAILED
        return failed and group_of(task), task.updated_at if failed else 0.0
    resources = task.spec.resources
    return (
        waiting(task) and group_of(task),  # a waiting task may get other secrets and configs, and so another group
        task.placed,
        task.desired_state <= _COMPLETE,
        resources and id(resources),
        task.ports and id(task.ports),
        task.generic_resources and id(task.generic_resources),
    )

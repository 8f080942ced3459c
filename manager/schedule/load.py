"""What the scheduler knows of the nodes' load, kept up with the store one change at a time.

Everything here follows from the store's objects, and from nothing else: an index fed with every change equals one
that is built from the whole state (`tests/prop/test_load.py`). It exists so that placing a task costs the
same with 100 tasks in the cluster and with 100,000.
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
from manager.schedule.regions import Division, Levels, label_values
from manager.store.changes import Change
from manager.store.view import View

Group: TypeAlias = tuple[str, int]
"""Tasks that are placed alike: a service's id and its spec version."""

_COMPLETE = TaskState.COMPLETE
_MOST_REMEMBERED = 4096
_MOST_DIVISIONS = 16
_REMEMBERED = frozenset({"_suited", "_having", "_divisions", "everywhere"})
_FAILED = frozenset({TaskState.FAILED, TaskState.REJECTED})
_MOST_PLAIN = 10_000


def available(node: Node) -> bool:
    """Whether new tasks may come to the node at all, whatever they are."""
    return node.agent and node.status.state == "ready" and node.spec.availability == "active"


def load_of(view: View) -> list[StoredObject]:
    """Return what load follows from, in the order in which it is to be taken in."""
    return [*view.networks, *view.nodes, *view.attachments, *view.tasks]


def group_of(task: Task) -> Group:
    return task.service_id, task.spec_version


def waiting(task: Task) -> bool:
    """Whether the task is the scheduler's to place now: its addresses are allocated, and it is still wanted."""
    return task.status.state == TaskState.PENDING and task.desired_state <= _COMPLETE and not task.held_back


class ClusterLoad:
    """All nodes' load, the tasks that wait, and where services lately failed. Changed by `apply` only."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeLoad] = {}
        self.pending: dict[Group, dict[str, Task]] = {}
        self.networks: dict[str, NetworkRoom] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._failures: dict[Group, dict[str, dict[str, float]]] = {}
        self._suited: dict[Hashable, tuple[NodeLoad, ...]] = {}
        self._having: dict[str, dict[str, list[NodeLoad]]] = {}
        self.everywhere = Division(_record_region, ())
        self._divisions: dict[Hashable, Division] = {}

    @classmethod
    def of(cls, view: View) -> ClusterLoad:
        """Build the load of a whole state."""
        load = cls()
        load.learn(load_of(view))
        return load

    def learn(self, values: Iterable[StoredObject]) -> None:
        """Take in what is there, of `load_of` and in its order."""
        for value in values:
            self.apply(Change(old=None, new=value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClusterLoad):
            return False
        return all(getattr(self, name) == getattr(other, name) for name in vars(self) if name not in _REMEMBERED)

    __hash__ = None  # type: ignore[assignment]

    def counts(self, service_id: str) -> dict[str, int]:
        """Return how many tasks of the service count on each node that has one. Not to be changed."""
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

    def suited(
        self,
        key: Hashable,
        suits: Callable[[NodeLoad], bool],
        wanted: Callable[[], tuple[str, str] | None] = lambda: None,
    ) -> tuple[NodeLoad, ...]:
        """Return the nodes that `suits`, which `key` names, holds for; it may ask their records alone, not their load.

        Remembered until a node changes: so many services may each be bound to a node of its own. Only those are asked
        that have the value of an attribute that is `wanted`, where one must be had.
        """
        found = self._suited.get(key)
        if found is None:
            if len(self._suited) >= _MOST_REMEMBERED:
                self._suited.clear()
            must = wanted()
            asked = self.nodes.values() if must is None else self._with(*must)
            found = self._suited[key] = tuple(load for load in asked if load.node and suits(load))
        return found

    def _with(self, attribute: str, value: str) -> Iterable[NodeLoad]:
        """Return the nodes that have a value for what a constraint's key names; looked up, once it was asked for."""
        index = self._having.get(attribute)
        if index is None:
            index = self._having[attribute] = {}
            read = reader(attribute)
            for load in self.nodes.values():
                if load.node is not None:
                    index.setdefault(read(load.node).casefold(), []).append(load)
        return index.get(value, ())

    def divided(self, levels: Levels) -> Division:
        """Return the tree of these labels' values over all nodes. It is to be settled before it is used."""
        found = self._divisions.get(levels)
        if found is None:
            found = Division(lambda load: label_values(load.node, levels) if load.node else None, self.nodes.values())
            if self._can_keep_up():
                self._divisions[levels] = found
        return found

    def suiting(self, key: Hashable, suits: Callable[[NodeLoad], bool]) -> Division | None:
        """Return the nodes that `suits`, as in `suited`, as one region; None when too many others are kept up."""
        found = self._divisions.get(("suiting", key))
        if found is None and self._can_keep_up():
            found = Division(lambda load: () if load.node and suits(load) else None, self.nodes.values())
            self._divisions["suiting", key] = found
        return found

    def _can_keep_up(self) -> bool:
        """Whether one more division can be kept up; if there are too many, first those go that nobody uses any more."""
        if len(self._divisions) == _MOST_DIVISIONS:
            self._divisions = {key: each for key, each in self._divisions.items() if not each.idle}
        return len(self._divisions) < _MOST_DIVISIONS

    def by_total(self) -> Iterator[NodeLoad]:
        """Walk the nodes that take tasks, the emptiest first. Nothing else may walk them meanwhile."""
        self.everywhere.settle()
        return iter(self.everywhere.root)

    def apply(self, change: Change) -> bool:
        """Take in one change; return whether it could let a task be placed that found no node before."""
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
                    self._join(each.target, attachment.node_id, sign)
        return isinstance(old, NetworkAttachment) and old.live

    def leave_out_plain(self, node_id: str) -> None:
        """Forget what a node's worker says of plain containers, for a caller who knows them and adds them himself."""
        load = self.nodes.get(node_id)
        if load is not None:
            load.set_plain(NO_PLAIN)
            self._touch(load)

    def add(self, task: Task) -> None:
        """Count a placed task's load, as `apply` will when it is stored. Undone by `take_away`."""
        self._weigh(task, 1)

    def take_away(self, task: Task) -> None:
        self._weigh(task, -1)

    def _apply_task(self, old: Task | None, new: Task | None) -> bool:
        freed = False
        if old is None or new is None or not _weigh_the_same(old, new):
            freed = old is not None and old.placed
            if old is not None:
                self._forget(old)
            if new is not None:
                self._learn(new)
        elif waiting(new):
            self.pending[group_of(new)][new.id] = new
        elif new.id in (holders := self._holders(new)):
            holders[new.id] = new
        return freed

    def _learn(self, task: Task) -> None:
        if task.placed:
            self._weigh(task, 1)
        elif waiting(task):
            self.pending.setdefault(group_of(task), {})[task.id] = task
        elif task.status.state in _FAILED and task.node_id:
            by_node = self._failures.setdefault(group_of(task), {})
            by_node.setdefault(task.node_id, {})[task.id] = task.updated_at  # by the manager's clock

    def _forget(self, task: Task) -> None:
        group = group_of(task)
        if task.placed:
            self._weigh(task, -1)
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

    def _weigh(self, task: Task, sign: int) -> None:
        load = self.nodes.get(task.node_id)
        if load is None:
            load = self.nodes[task.node_id] = NodeLoad(task.node_id)
        load.hold(task, sign)
        for each in task.spec.networks:
            self._join(each.target, load.id, sign)
        if task.desired_state <= _COMPLETE:
            self._count(task, load, sign)
        if load.node is None:
            self._drop_if_empty(load)

    def _join(self, network_id: str, node_id: str, sign: int) -> None:
        """Count one user of a network more (`sign` 1) or fewer (-1) on a node."""
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
            self._suited.clear()
            self._having.clear()
        load.node = node
        load.set_plain(_plain(node))
        load.open = node is not None and available(node)
        self._touch(load)
        self._drop_if_empty(load)
        return load.open

    def _apply_network(self, network_id: str, network: Network | None) -> bool:
        room = self.networks.setdefault(network_id, NetworkRoom())
        was_short = room.is_short(len(self.nodes))
        room.become(network)
        if not room.users and room.network is None:
            del self.networks[network_id]
        return was_short

    def _touch(self, load: NodeLoad) -> None:
        self.everywhere.touch(load)
        for division in self._divisions.values():
            division.touch(load)

    def _drop_if_empty(self, load: NodeLoad) -> None:
        if load.node is None and not load.tasks:
            self.nodes.pop(load.id, None)


def _frees_data(change: Change) -> bool:
    """Whether a change of what is known of volumes could let a task be placed that waits for its data."""
    old, new = change.old, change.new
    if isinstance(old, Volume) and isinstance(new, Volume):
        return replace(old, size=new.size, version=new.version, updated_at=new.updated_at) != new
    return old is not None or isinstance(new, Volume)


def _plain(node: Node | None) -> PlainContainers:
    """Return what counts of a node's plain containers, whatever its worker says."""
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


def _weigh_the_same(old: Task, new: Task) -> bool:
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
        waiting(task) and group_of(task),  # a task that waits may be given other secrets and configs: another group
        task.placed,
        task.desired_state <= _COMPLETE,
        resources and id(resources),
        task.ports and id(task.ports),
        task.generic_resources and id(task.generic_resources),
    )

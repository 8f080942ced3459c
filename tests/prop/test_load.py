"""The load index fed change by change is the one that the whole state gives."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from common.model import Network, NetworkAttachment, Node, StoredObject, Task, TaskState, TaskStatus
from common.model.attachment import AttachedNetwork
from common.model.node import PlainContainers
from manager.schedule.load import ClusterLoad
from manager.schedule.node_load import NodeLoad
from manager.schedule.regions import Region, RegionTree
from manager.store.changes import Change
from manager.store.tables import Tables
from tests.prop.scheduling_worlds import mostly, networks, nodes, old_tasks

NODES = ["node0", "node1", "node2"]


@st.composite
def changed(draw: st.DrawFn, task: Task) -> Task:
    """Change a task as the manager or its worker may: state, what is wanted of it, files, its node if it has none."""
    states = [state for state in TaskState if state >= task.status.state]
    status = TaskStatus(state=draw(st.sampled_from(states)))
    return replace(
        task,
        updated_at=draw(st.floats(0, 1000)),
        node_id=task.node_id or draw(st.sampled_from(["", *NODES])),
        status=draw(st.sampled_from([task.status, status])),
        desired_state=draw(st.sampled_from([task.desired_state, TaskState.SHUTDOWN, TaskState.REMOVE])),
        spec_version=task.spec_version + draw(st.integers(0, 1)),
    )


@st.composite
def waiting_tasks(draw: st.DrawFn, number: int) -> Task:
    task = draw(old_tasks(number, ["", *NODES]))
    state = draw(st.sampled_from([TaskState.NEW, TaskState.PENDING]))
    return replace(task, id=f"task{number}", generic_resources=(), status=TaskStatus(state=state))


@st.composite
def nodes_with_plain_containers(draw: st.DrawFn, number: int) -> Node:
    """Say anything of plain containers, as a worker may."""
    amounts = [draw(st.integers(-1, 5)) for _ in range(3)]
    plain = PlainContainers(count=amounts[0], nano_cpus=amounts[1], memory_bytes=amounts[2])
    node = draw(nodes(number))
    return replace(node, description=replace(node.description, plain=plain))


@st.composite
def attachments(draw: st.DrawFn, number: int) -> NetworkAttachment:
    return NetworkAttachment(
        id=f"a{number}",
        node_id=f"node{number}",
        networks=tuple(AttachedNetwork(target=name) for name in draw(mostly(("small",), (), ("small", "large")))),
        ended_at=draw(st.sampled_from([0.0, 0.0, 5.0])),
    )


LEVELS = ((), ("node.labels.zone",), ("node.labels.zone", "node.labels.rack"), ("node.labels.rack",))


def in_zone_a(load: NodeLoad) -> bool:
    return load.node is not None and load.node.spec.labels.get("zone") == "a"


def facts(region: Region) -> tuple:
    """Return everything that a region says."""
    open_nodes = [] if region.parts else [node.id for node in region]
    return region.name, region.size, region.total, open_nodes, sorted(map(facts, region.parts.values()))


def trees(load: ClusterLoad) -> list[RegionTree]:
    suitable = load.suitable_tree("in zone a", in_zone_a)
    assert suitable is not None
    return [load.everywhere, suitable, *map(load.tree_by, LEVELS)]


def settled(load: ClusterLoad) -> list[tuple]:
    for tree in trees(load):
        tree.update()
    return [facts(tree.root) for tree in trees(load)]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_kept_up_equals_built_anew(data: st.DataObject) -> None:
    view, load = Tables(), ClusterLoad()
    for _ in range(data.draw(st.integers(1, 25), "changes")):
        number = data.draw(st.integers(0, 5), "number")
        old: Any
        kind: Any = data.draw(st.sampled_from([Node, Task, Task, Network, NetworkAttachment]), "kind")
        if kind is Network:
            name = data.draw(st.sampled_from(["large", "small"]))
            old = view.networks.get(name)
            new = data.draw(st.one_of(st.none(), networks(name, NODES)))
        elif kind is NetworkAttachment:
            old = view.attachments.get(f"a{number % 2}")
            new = data.draw(st.one_of(st.none(), attachments(number % 2)))
        elif kind is Node:
            old = view.nodes.get(f"node{number % 3}")
            new = data.draw(st.one_of(st.none(), nodes_with_plain_containers(number % 3)))
        else:
            old = view.tasks.get(f"task{number}")
            new = data.draw(waiting_tasks(number) if old is None else st.one_of(st.none(), changed(old)))
        table = view.of(kind)
        if old is None and new is None:
            continue
        if new is None:
            table.discard(old.id)
        else:
            table.put(new)
        load.apply(Change(old=old, new=new))
        assert load == ClusterLoad.of(view)
        if data.draw(st.booleans(), "the trees are used"):
            assert settled(load) == settled(ClusterLoad.of(view))
    assert settled(load) == settled(ClusterLoad.of(view))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_nothing_is_left_of_what_is_gone(data: st.DataObject) -> None:
    load = ClusterLoad()
    values: list[StoredObject] = [data.draw(nodes_with_plain_containers(number)) for number in range(3)]
    values += [data.draw(networks("small", NODES)), data.draw(attachments(1))]
    values += [data.draw(waiting_tasks(number)) for number in range(3)]
    values += [data.draw(old_tasks(number, NODES)) for number in range(6)]
    for value in data.draw(st.permutations(values)):
        load.apply(Change(old=None, new=value))
    for value in data.draw(st.permutations(values)):
        load.apply(Change(old=value, new=None))
        if data.draw(st.booleans(), "the trees are used"):
            settled(load)
    assert load == ClusterLoad()
    assert settled(load) == settled(ClusterLoad())

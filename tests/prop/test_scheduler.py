"""The scheduler against a slow, obviously right reference: each of its steps must be one that the reference allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import Node, Task, TaskState
from common.model.service import Reservations
from manager.schedule.load import ClusterLoad
from manager.schedule.scheduler import Round, schedule
from manager.store.changes import Change
from manager.store.tables import Tables
from tests.prop.scheduling_worlds import NOW, PARTS, worlds

# The reference: everything counted anew from the tasks, each time.


def on_node(view: Tables, node: Node) -> list[Task]:
    return [t for t in view.tasks.on_node(node.id) if TaskState.ASSIGNED <= t.status.state <= TaskState.RUNNING]


def active(view: Tables, node: Node) -> list[Task]:
    return [t for t in on_node(view, node) if t.desired_state <= TaskState.COMPLETE]


def wants(task: Task) -> Reservations:
    return (task.spec.resources and task.spec.resources.reservations) or Reservations()


def things(resources: Iterable, kind: str) -> list[str]:
    return [
        r.named_resource_spec.value for r in resources if r.named_resource_spec and r.named_resource_spec.kind == kind
    ]


def counted(resources: Iterable, kind: str) -> int:
    found = (r.discrete_resource_spec for r in resources)
    return sum(spec.value for spec in found if spec and spec.kind == kind)


def enough(view: Tables, node: Node, task: Task) -> bool:
    has, there = node.description.resources, on_node(view, node)
    want = wants(task)
    if want.nano_cpus and sum(wants(t).nano_cpus for t in there) + want.nano_cpus > has.nano_cpus:
        return False
    if want.memory_bytes and sum(wants(t).memory_bytes for t in there) + want.memory_bytes > has.memory_bytes:
        return False
    return all(enough_of(kind, want, has.generic_resources, there) for kind in ("gpu", "disk"))


def enough_of(kind: str, want: Reservations, has: Iterable, there: list[Task]) -> bool:
    used_things = {value for t in there for value in things(t.generic_resources, kind)}
    left = len(set(things(has, kind)) - used_things)
    if not left:
        left = counted(has, kind) - sum(counted(t.generic_resources, kind) for t in there)
    need = counted(want.generic_resources, kind)
    return not need or need <= left


def host_ports(task: Task) -> list[tuple[str, int, str]]:
    return [(p.protocol, p.published_port, p.host_ip) for p in task.ports if p.publish_mode == "host"]


def ports_free(view: Tables, node: Node, task: Task) -> bool:
    taken = [port for t in on_node(view, node) for port in host_ports(t)]
    return not any(
        mine[:2] == theirs[:2] and (not mine[2] or not theirs[2] or mine[2] == theirs[2])
        for mine in host_ports(task)
        for theirs in taken
    )


def parts_free(view: Tables, node: Node, task: Task) -> bool:
    """Whether each network's parts are enough for the node and all that have one or are to get one, and have room.

    The last address of a subnet is no container's, nor are two of each part.
    """
    for each in task.spec.networks:
        network = view.networks.get(each.target)
        if network is not None and each.target in PARTS:
            users = {t.node_id for other in view.nodes for t in on_node(view, other) if each in t.spec.networks}
            here = [t for t in on_node(view, node) if each in t.spec.networks]
            part = network.leases.get(node.id)
            if part and len(here) >= (5 if part == PARTS[each.target][-1] else 6):
                return False
            having = users | set(network.leases)
            if node.id not in having and len(having) >= len(PARTS[each.target]):
                return False
    return True


def fits(view: Tables, node: Node, task: Task) -> bool:
    placement = task.spec.placement
    assert placement is not None
    zone = node.spec.labels.get("zone", "")
    ours = [t for t in active(view, node) if t.service_id == task.service_id]
    return (
        (node.agent and node.status.state == "ready" and node.spec.availability == "active")
        and ("node.labels.zone==a" not in placement.constraints or zone == "a")
        and ("node.labels.zone!=a" not in placement.constraints or zone != "a")
        and (not placement.platforms or node.description.platform.architecture == "x86_64")
        and (not placement.max_replicas or len(ours) < placement.max_replicas)
        and enough(view, node, task)
        and ports_free(view, node, task)
        and parts_free(view, node, task)
    )


def rank(view: Tables, node: Node, task: Task) -> tuple[bool, int, int]:
    failed = [
        t
        for t in view.tasks.on_node(node.id)
        if t.service_id == task.service_id
        and t.status.state in (TaskState.FAILED, TaskState.REJECTED)
        and t.updated_at >= NOW - 300
    ]
    ours = [t for t in active(view, node) if t.service_id == task.service_id]
    return len(failed) >= 5, len(ours), len(active(view, node))


def best(view: Tables, task: Task) -> list[Node]:
    """Return the nodes that the reference would take, equally good."""
    fitting = [node for node in view.nodes if fits(view, node, task)]
    assert task.spec.placement is not None
    region = list(view.nodes)
    for preference in task.spec.placement.preferences:
        assert preference.spread is not None
        label = preference.spread.spread_descriptor.removeprefix("node.labels.")
        fullness = {}
        for value in {node.spec.labels.get(label, "") for node in fitting}:
            part = [node for node in region if node.spec.labels.get(label, "") == value]
            fullness[value] = sum(rank(view, node, task)[1] for node in part)
        allowed = [value for value, tasks in fullness.items() if tasks == min(fullness.values())]
        if len(allowed) > 1:
            return [node for value in allowed for node in best_in(view, task, region, fitting, label, value)]
        fitting = [node for node in fitting if node.spec.labels.get(label, "") in allowed]
        region = [node for node in region if node.spec.labels.get(label, "") in allowed]
    ranks = {node.id: rank(view, node, task) for node in fitting}
    return [node for node in fitting if ranks[node.id] == min(ranks.values())]


def best_in(view: Tables, task: Task, region: list[Node], fitting: list[Node], label: str, value: str) -> list[Node]:
    """Return all that fit in a branch as good as another: which of two such is taken is the scheduler's choice."""
    return [node for node in fitting if node.spec.labels.get(label, "") == value]


# The comparison.


def follow(view: Tables, result: Round, check: Callable[[Task], None]) -> None:
    """Commit a round task by task, each checked on the state that the ones before left."""
    for task in result.decision.put:
        assert isinstance(task, Task)
        check(task)
        view.of(Task).put(task)


@settings(max_examples=400, deadline=None)
@given(view=worlds(), limit=st.integers(1, 10))
def test_every_step_is_one_that_the_reference_allows(view: Tables, limit: int) -> None:
    load = ClusterLoad.of(view)
    groups = list(load.pending)

    def check(task: Task) -> None:
        before = view.tasks.get(task.id)
        assert before is not None
        if task.status.state != TaskState.ASSIGNED:
            assert task.status.err.startswith("no suitable node")
            return
        node = view.nodes.get(task.node_id)
        assert node is not None
        assert fits(view, node, task)
        if before.node_id:
            assert before.node_id == task.node_id
        else:
            assert node in best(view, task)
        for kind in ("gpu", "disk"):
            given_ = things(task.generic_resources, kind)
            need = counted(wants(task).generic_resources, kind)
            assert need == len(given_) + counted(task.generic_resources, kind)
            assert set(given_) <= set(things(node.description.resources.generic_resources, kind))

    for _ in range(1000):
        result = schedule(view, load, groups, NOW, limit=limit)
        assert load == ClusterLoad.of(view), "a decision must leave the load as it was"
        before = {task.id: view.tasks.get(task.id) for task in result.decision.put}
        follow(view, result, check)
        for task_id, old in before.items():
            load.apply(Change(old=old, new=view.tasks.get(task_id)))
        groups = list(result.more)
        if not groups:
            break
    assert load == ClusterLoad.of(view)
    nobody_waits_in_vain(view)


def nobody_waits_in_vain(view: Tables) -> None:
    for task in view.tasks:
        if task.status.state == TaskState.PENDING:
            nodes = [node for node in view.nodes if task.node_id in ("", node.id)]
            assert not any(fits(view, node, task) for node in nodes)
            assert task.status.err.startswith("no suitable node")


@settings(max_examples=100, deadline=None)
@given(view=worlds())
def test_the_same_state_gives_the_same_decision(view: Tables) -> None:
    load = ClusterLoad.of(view)
    other = ClusterLoad()
    for value in reversed([*view.networks, *view.nodes, *view.tasks]):
        other.apply(Change(old=None, new=value))
    for value in view.tasks:
        other.apply(Change(old=value, new=None))
    for value in view.tasks:
        other.apply(Change(old=None, new=value))
    groups = list(load.pending)
    assert schedule(view, load, groups, NOW) == schedule(view, other, groups, NOW)

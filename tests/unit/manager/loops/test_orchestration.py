"""Which changes wake which orchestrator."""

from __future__ import annotations

import pytest

from common.model import Cluster, Node, Service, StoredObject, Task, TaskState, TaskStatus
from common.model.node import NodeSpec, NodeStatus
from common.model.update import UpdateState, UpdateStatus
from manager.loops import orchestration
from manager.orchestrate.housekeeping import slot_key
from manager.store.changes import Change
from tests.fakes.world import World, replace

ALLOW = {"swarm.x.schedule": "0 0 1 1 *", "swarm.x.schedule-concurrency": "allow"}


def world() -> World:
    made = World()
    made.nodes("n1", "n2")
    made.replicated(2)
    made.decide()
    made.run("n1")
    return made


def services(made: World, old: StoredObject | None, new: StoredObject | None) -> list[str]:
    return list(orchestration.service_keys(Change(old, new), made.tables))


def seen(task: Task, state: TaskState, err: str = "") -> Task:
    return replace(task, status=TaskStatus(state=state, err=err))


def test_a_services_own_change_wakes_it() -> None:
    made = world()
    assert services(made, made.service, replace(made.service, pending_delete=True)) == ["s"]
    assert services(made, made.service, None) == ["s"]


@pytest.mark.parametrize("state", [TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED, TaskState.ORPHANED])
def test_the_end_of_a_task_wakes_its_service(state: TaskState) -> None:
    made = world()
    task = made.tasks[0]
    assert services(made, task, seen(task, state)) == ["s"]


def test_a_task_on_its_way_up_wakes_nobody() -> None:
    made = world()
    task = made.tasks[0]
    way = [TaskState.NEW, TaskState.PENDING, TaskState.ASSIGNED, TaskState.PREPARING, TaskState.READY]
    for before, after in zip(way, [*way[1:], TaskState.RUNNING], strict=True):
        assert services(made, seen(task, before), seen(task, after)) == []
    assert services(made, None, task) == [], "the decision that made it knows"


def test_a_task_that_runs_wakes_an_update_that_waits_for_it() -> None:
    made = world()
    made.put(replace(made.service, update_status=UpdateStatus(state=UpdateState.UPDATING)))
    task = made.tasks[0]
    assert services(made, seen(task, TaskState.STARTING), task) == ["s"]


def test_what_happens_to_a_replacement_wakes_its_service() -> None:
    made = world()
    old = made.tasks[0]
    new = replace(old, id="new", status=TaskStatus(state=TaskState.PENDING))
    made.put(new)
    assert services(made, new, seen(new, TaskState.PENDING, "no suitable node")) == ["s"]
    assert services(made, seen(new, TaskState.STARTING), seen(new, TaskState.RUNNING)) == ["s"]


def test_a_removed_or_stopping_task_wakes_its_service() -> None:
    made = world()
    task = made.tasks[0]
    assert services(made, task, None) == ["s"]
    assert services(made, task, replace(task, desired_state=TaskState.SHUTDOWN)) == ["s"]


@pytest.mark.parametrize(
    ("change", "wakes"),
    [
        ({"status": NodeStatus(state="down")}, True),
        ({"spec": NodeSpec(availability="drain")}, True),
        ({"spec": NodeSpec(labels={"zone": "a"})}, True),
        ({"number": 7}, False),
    ],
)
def test_a_node_with_a_relevant_change_wakes_its_services(change: dict[str, object], wakes: bool) -> None:
    made = world()
    node = made.tables.nodes.get("n1")
    assert isinstance(node, Node)
    changed = replace(node, **change)
    assert services(made, node, changed) == (["s"] if wakes else [])
    assert list(orchestration.node_keys(Change(node, changed), made.tables)) == (["n1"] if wakes else [])


def test_a_new_node_wakes_the_global_services() -> None:
    made = world()
    made.put(Service(id="g", spec=replace(made.service.spec, name="g", mode=_global())))
    assert services(made, None, Node(id="n3", agent=True)) == ["g"]


def _global() -> object:
    made = World()
    return made.global_().spec.mode


def test_a_full_pass_goes_over_what_services_left_behind() -> None:
    made = world()
    made.remove(made.service)
    assert list(orchestration.all_services(made.tables)) == ["s"]
    node = made.tables.nodes.get("n1")
    assert node is not None
    made.remove(node)
    assert set(orchestration.all_task_nodes(made.tables)) == {"n1", "n2"}


def test_history_wakes_the_reaper() -> None:
    made = world()
    task = made.tasks[0]
    ended = replace(seen(task, TaskState.FAILED), desired_state=TaskState.SHUTDOWN)
    keys = orchestration.slot_keys
    assert list(keys(Change(task, ended), made.tables)) == [slot_key(task)]
    assert list(keys(Change(seen(task, TaskState.STARTING), task), made.tables)) == []
    assert list(keys(Change(None, task), made.tables)) == [], "the first task of a slot makes no history"
    made.put(ended)
    new = replace(task, id="new")
    made.put(new)
    assert list(keys(Change(None, new), made.tables)) == [slot_key(task)]
    cluster = made.tables.cluster
    assert isinstance(cluster, Cluster)
    assert list(keys(Change(cluster, cluster), made.tables)) == [slot_key(task)]
    assert list(orchestration.all_slots(made.tables)) == [slot_key(task)]


def test_an_execution_that_is_over_wakes_the_reaper() -> None:
    """Its last records were kept until then; no task of their slots may change any more."""
    made = World()
    made.nodes("n1")
    made.job(1)
    made.settle()
    made.put(replace(made.service, spec=replace(made.service.spec, labels=ALLOW)))
    made.force()
    made.run("n1")
    (task,) = made.tasks
    made.see(task, TaskState.COMPLETE)
    now = made.service
    assert now.job_status is not None
    both = replace(now, job_status=replace(now.job_status, beside=(0,)))
    assert list(orchestration.slot_keys(Change(both, now), made.tables)) == [slot_key(task)]
    assert list(orchestration.slot_keys(Change(now, both), made.tables)) == []


def test_a_node_that_is_down_or_gone_wakes_the_orphans() -> None:
    made = world()
    node = made.tables.nodes.get("n1")
    assert isinstance(node, Node)
    down = replace(node, status=NodeStatus(state="down"))
    keys = orchestration.lost_node_keys
    assert list(keys(Change(node, down), made.tables)) == ["n1"]
    assert list(keys(Change(node, None), made.tables)) == ["n1"]
    assert list(keys(Change(down, node), made.tables)) == []
    assert list(keys(Change(node, replace(node, agent=False, certificate_serials=())), made.tables)) == ["n1"]

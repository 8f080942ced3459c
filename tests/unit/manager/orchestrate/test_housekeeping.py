"""Tasks of lost nodes, records that are too old, and tasks that a node may not keep."""

from __future__ import annotations

import pytest

from common.model import Node, Task, TaskState
from common.model.node import NodeDescription, NodeResources, NodeStatus
from common.model.service import Reservations, Resources, TaskSpec
from manager.orchestrate import housekeeping
from tests.fakes.world import World, replace, template


def test_a_removed_nodes_tasks_are_orphaned_and_replaced_at_once() -> None:
    world = running(2)
    node = world.tables.nodes.get("n1")
    assert node is not None
    world.remove(node)
    decision = world.decide(housekeeping.give_up_orphans, "n1")
    assert {task.status.state for task in world.tasks} == {TaskState.ORPHANED}
    assert "its node was removed" in decision.reasons[0]
    world.decide()
    assert [task.desired_state for task in world.live] == [TaskState.RUNNING, TaskState.RUNNING]


@pytest.mark.parametrize("manages", [False, True])
def test_tasks_of_a_node_that_has_left_are_orphaned_at_once(manages: bool) -> None:
    """A manager stays a ready node without a worker: it is never removed, so nothing else would end them."""
    world = running(2)
    node = world.tables.nodes.get("n1")
    assert node is not None
    world.put(
        replace(
            node, status=NodeStatus(state="ready" if manages else "down"), agent=not manages, certificate_serials=()
        )
    )
    decision = world.decide(housekeeping.give_up_orphans, "n1")
    assert {task.status.state for task in world.tasks} == {TaskState.ORPHANED}
    assert "its node's worker has left the cluster" in decision.reasons[0]


def test_a_node_that_is_down_for_a_day_is_given_up() -> None:
    world = running()
    world.node("n1", state="down")
    decision = world.decide(housekeeping.give_up_orphans, "n1", "")
    assert decision.wake_at == {"n1": world.now + housekeeping.ORPHAN_SECONDS}
    world.pass_time(housekeeping.ORPHAN_SECONDS)
    world.decide(housekeeping.give_up_orphans, "n1")
    assert [task.status.state for task in world.tasks] == [TaskState.ORPHANED]


def test_a_node_that_is_there_keeps_its_tasks() -> None:
    world = running()
    assert not world.decide(housekeeping.give_up_orphans, "n1")


def running(replicas: int = 1, history: int = 5) -> World:
    world = World(history)
    world.nodes("n1")
    world.replicated(replicas)
    world.decide()
    world.run("n1")
    return world


def reap(world: World) -> None:
    world.decide(housekeeping.reap_records, *{housekeeping.slot_key(task) for task in world.tasks})


def fail_often(world: World, times: int) -> None:
    for _ in range(times):
        world.see(world.live[0], TaskState.FAILED)
        world.decide()
        world.pass_time(400)
        world.decide()
        world.run("n1")
        world.decide()


@pytest.mark.parametrize(("history", "kept"), [(5, 5), (1, 1), (0, 1), (-1, 9)])
def test_history_is_kept_to_the_limit_and_the_newest_always(history: int, kept: int) -> None:
    world = running(history=history)
    fail_often(world, 8)
    newest = world.live[0]
    oldest = world.in_slot(1)[0]
    reap(world)
    assert len(world.tasks) == kept
    assert newest in world.tasks
    assert (oldest in world.tasks) == (history < 0)


def test_a_finished_slot_is_not_forgotten() -> None:
    world = running(history=0)
    world.see(world.live[0], TaskState.COMPLETE)
    world.put(replace(world.tasks[0], desired_state=TaskState.SHUTDOWN))
    reap(world)
    assert len(world.tasks) == 1


def test_what_still_stops_is_no_history_yet() -> None:
    world = running(history=1)
    world.put(replace(world.live[0], desired_state=TaskState.SHUTDOWN))
    world.decide()
    reap(world)
    assert len(world.tasks) == 2
    world.stopped()
    reap(world)
    assert len(world.tasks) == 1


def test_removed_tasks_go_once_they_have_stopped() -> None:
    world = running(2)
    world.scale(0)
    world.decide()
    reap(world)
    assert len(world.tasks) == 2
    world.stopped()
    reap(world)
    assert not world.tasks


def test_removed_tasks_that_no_worker_had_go_at_once() -> None:
    world = World()
    world.replicated(3)
    world.decide()
    world.scale(1)
    world.decide()
    reap(world)
    assert [task.slot for task in world.tasks] == [1]


def test_removed_tasks_of_a_node_that_is_down_wait_for_it() -> None:
    world = running()
    world.scale(0)
    world.decide()
    world.node("n1", state="down")
    reap(world)
    assert len(world.tasks) == 1
    node = world.tables.nodes.get("n1")
    assert node is not None
    world.remove(node)
    reap(world)
    assert not world.tasks


def on_two_nodes(spec: TaskSpec, replicas: int = 2) -> World:
    world = World()
    world.node("n1", labels={"zone": "a"})
    resize(world, 1000)
    world.node("n2", labels={"zone": "a"})
    world.replicated(replicas, spec)
    world.decide()
    world.run("n1")
    return world


def resize(world: World, memory: int) -> None:
    node = world.tables.nodes.get("n1")
    assert isinstance(node, Node)
    resources = NodeResources(memory_bytes=memory)
    world.put(replace(node, description=NodeDescription(hostname="n1", resources=resources)))


def reserving(memory: int) -> TaskSpec:
    return template(resources=Resources(reservations=Reservations(memory_bytes=memory)))


def shut_down(world: World) -> list[Task]:
    return [task for task in world.tasks if task.desired_state is TaskState.SHUTDOWN]


def test_what_fits_stays() -> None:
    world = on_two_nodes(template(constraints=("node.labels.zone==a",)))
    assert not world.decide(housekeeping.enforce, "n1", "n2", "gone")


def test_a_broken_constraint_shuts_down_and_says_which() -> None:
    world = on_two_nodes(template(constraints=("node.labels.zone==a",)))
    world.node("n1", labels={"zone": "b"})
    world.decide(housekeeping.enforce, "n1")
    assert len(shut_down(world)) == 2
    assert {task.status.state for task in shut_down(world)} == {TaskState.RUNNING}, "seen states are the worker's"
    assert {task.status.err for task in shut_down(world)} == {
        "assigned node no longer meets constraints: node.labels.zone==a"
    }
    world.decide()
    assert [task.node_id for task in world.live] == ["", ""], "the service replaces them"


def test_what_only_the_new_specification_forbids_is_left_alone() -> None:
    world = on_two_nodes(template(constraints=("node.labels.zone==a",)))
    world.change(template(constraints=("node.labels.zone==b",)))
    assert not world.decide(housekeeping.enforce, "n1")


def test_a_smaller_node_keeps_its_oldest_tasks() -> None:
    world = on_two_nodes(reserving(400), 1)
    first = world.live[0]
    world.pass_time(10)
    world.scale(2)
    world.decide()
    world.run("n1")
    resize(world, 500)
    decision = world.decide(housekeeping.enforce, "n1")
    assert [task.id for task in world.live] == [first.id]
    assert "no longer has the memory" in decision.reasons[0]


def test_a_stopping_task_still_takes_its_room() -> None:
    world = on_two_nodes(reserving(400), 2)
    old, kept = world.live
    world.put(replace(old, desired_state=TaskState.SHUTDOWN))
    resize(world, 700)
    world.decide(housekeeping.enforce, "n1")
    assert not world.task(kept).live


def test_a_node_that_is_down_or_drained_is_left_to_others() -> None:
    world = on_two_nodes(template(constraints=("node.labels.zone==a",)))
    for state, availability in (("down", "active"), ("ready", "drain")):
        world.node("n1", state=state, labels={"zone": "b"}, availability=availability)
        assert not world.decide(housekeeping.enforce, "n1")

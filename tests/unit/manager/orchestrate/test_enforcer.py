"""What a node may keep when it changes."""

from __future__ import annotations

from common.model import Node, Task, TaskState
from common.model.node import NodeDescription, NodeResources
from common.model.service import Reservations, Resources, TaskSpec
from manager.orchestrate import enforcer
from tests.fakes.world import World, replace, template


def running(spec: TaskSpec, replicas: int = 2) -> World:
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
    world = running(template(constraints=("node.labels.zone==a",)))
    assert not world.decide(enforcer.decide, "n1", "n2", "gone")


def test_a_broken_constraint_shuts_down_and_says_which() -> None:
    world = running(template(constraints=("node.labels.zone==a",)))
    world.node("n1", labels={"zone": "b"})
    world.decide(enforcer.decide, "n1")
    assert len(shut_down(world)) == 2
    assert {task.status.state for task in shut_down(world)} == {TaskState.RUNNING}, "seen states are the worker's"
    assert {task.status.err for task in shut_down(world)} == {
        "assigned node no longer meets constraints: node.labels.zone==a"
    }
    world.decide()
    assert [task.node_id for task in world.live] == ["", ""], "the service replaces them"


def test_what_only_the_new_specification_forbids_is_left_alone() -> None:
    world = running(template(constraints=("node.labels.zone==a",)))
    world.change(template(constraints=("node.labels.zone==b",)))
    assert not world.decide(enforcer.decide, "n1")


def test_a_smaller_node_keeps_its_oldest_tasks() -> None:
    world = running(reserving(400), 1)
    first = world.live[0]
    world.pass_time(10)
    world.scale(2)
    world.decide()
    world.run("n1")
    resize(world, 500)
    decision = world.decide(enforcer.decide, "n1")
    assert [task.id for task in world.live] == [first.id]
    assert "no longer has the memory" in decision.reasons[0]


def test_a_stopping_task_still_takes_its_room() -> None:
    world = running(reserving(400), 2)
    old, kept = world.live
    world.put(replace(old, desired_state=TaskState.SHUTDOWN))
    resize(world, 700)
    world.decide(enforcer.decide, "n1")
    assert not world.task(kept).live


def test_a_node_that_is_down_or_drained_is_left_to_others() -> None:
    world = running(template(constraints=("node.labels.zone==a",)))
    for state, availability in (("down", "active"), ("ready", "drain")):
        world.node("n1", state=state, labels={"zone": "b"}, availability=availability)
        assert not world.decide(enforcer.decide, "n1")

"""Global services: one task on each eligible node."""

from __future__ import annotations

import pytest

from common.model import Node, TaskState
from tests.fakes.world import World, replace, template, update_config
from tests.unit.manager.orchestrate.reconcile.test_nodes import drain


def where(world: World) -> list[str]:
    return sorted(task.node_id for task in world.live)


def running(**other: object) -> World:
    world = World()
    world.nodes("n1", "n2", "n3")
    world.global_(**other)  # type: ignore[arg-type]
    world.decide()
    world.run()
    return world


def test_one_task_a_node() -> None:
    world = running()
    assert where(world) == ["n1", "n2", "n3"]
    assert {task.slot for task in world.tasks} == {0}
    assert not world.decide()


def test_a_new_node_gets_one() -> None:
    world = running()
    world.node("n4")
    world.decide()
    assert where(world) == ["n1", "n2", "n3", "n4"]


def test_a_manager_without_a_worker_gets_none() -> None:
    world = running()
    world.put(replace(Node(), id="m1", status=replace(Node().status, state="ready")))
    world.decide()
    assert where(world) == ["n1", "n2", "n3"]


@pytest.mark.parametrize("how", ["drain", "down"])
def test_drain_and_down_stop_it_and_it_comes_back(how: str) -> None:
    world = running()
    if how == "drain":
        drain(world, "n2")
    else:
        world.node("n2", state="down")
    world.decide()
    assert where(world) == ["n1", "n3"]
    assert {task.desired_state for task in world.tasks if task.node_id == "n2"} == {TaskState.SHUTDOWN}
    assert not world.decide()
    world.node("n2")
    world.decide()
    assert where(world) == ["n1", "n2", "n3"]
    world.stopped()
    world.decide()
    assert {task.desired_state for task in world.live} == {TaskState.RUNNING}


def test_pause_keeps_it_and_starts_nothing() -> None:
    world = running()
    drain(world, "n2", "pause")
    assert not world.decide()
    world.see(next(task for task in world.live if task.node_id == "n2"), TaskState.FAILED)
    world.decide()
    assert where(world) == ["n1", "n3"]
    drain(world, "n2", "active")
    world.decide()
    assert where(world) == ["n1", "n2", "n3"]


def test_constraints_choose_nodes_and_give_them_up() -> None:
    world = World()
    world.node("n1", labels={"zone": "a"})
    world.node("n2", labels={"zone": "b"})
    world.global_(template(constraints=("node.labels.zone==a",)))
    world.decide()
    assert where(world) == ["n1"]
    world.node("n1", labels={"zone": "b"})
    world.node("n2", labels={"zone": "a"})
    world.decide()
    assert where(world) == ["n2"]
    assert {task.desired_state for task in world.tasks if task.node_id == "n1"} == {TaskState.REMOVE}


def test_a_removed_nodes_task_goes() -> None:
    world = running()
    node = world.tables.nodes.get("n2")
    assert node is not None
    world.remove(node)
    world.decide()
    assert where(world) == ["n1", "n3"]
    assert {task.desired_state for task in world.tasks if task.node_id == "n2"} == {TaskState.REMOVE}


def test_a_failed_task_is_replaced_on_its_node() -> None:
    world = running()
    failed = world.see(world.live[0], TaskState.FAILED)
    world.decide()
    new = next(task for task in world.live if task.node_id == failed.node_id)
    assert new.desired_state is TaskState.READY
    assert new.restart.streak == 1


def test_it_updates_node_by_node() -> None:
    world = running(update_config=update_config(parallelism=1))
    world.change(template("web:2"))
    for _ in range(4):
        world.decide()
        assert sum(task.status.state < TaskState.RUNNING for task in world.live) <= 1
        world.stopped()
        world.decide()
        world.run()
    assert where(world) == ["n1", "n2", "n3"]
    assert {task.spec_version for task in world.live} == {world.service.spec_version}

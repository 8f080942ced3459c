"""A task that is to move: its replacement runs on the chosen node before it stops, or it stays."""

from __future__ import annotations

from common.model import Task, TaskState
from tests.fakes.world import World, replace, template


def moving(replicas: int = 2) -> tuple[World, Task]:
    world = World()
    world.nodes("n1", "n2")
    world.replicated(replicas)
    world.decide()
    world.run("n1")
    task = world.live[0]
    world.put(replace(task, moving_to="n2"))
    world.decide()
    return world, world.task(task)


def challenger(world: World, task: Task) -> Task:
    return next(other for other in world.in_slot(task.slot) if other.id != task.id)


def test_the_replacement_runs_on_the_target_before_the_task_ends() -> None:
    world, task = moving()
    new = challenger(world, task)
    assert (new.node_id, new.desired_state) == ("n2", TaskState.RUNNING)
    assert task.live
    assert not world.decide()
    world.see(new, TaskState.RUNNING)
    world.decide()
    assert world.task(task).desired_state is TaskState.SHUTDOWN
    assert world.task(new).live
    assert world.task(new).moving_to == ""


def test_one_of_a_service_at_a_time() -> None:
    world, task = moving()
    world.put(replace(world.live[1], moving_to="n2"))
    assert not world.decide()
    world.see(challenger(world, task), TaskState.RUNNING)
    assert len(world.live) == 3
    world.decide()
    assert [each.slot for each in world.live if each.node_id == "n2"] == [task.slot, 3 - task.slot]
    assert len(world.live) == 3, "the first has taken over, the second has begun"


def test_a_replacement_that_finds_no_place_is_given_up() -> None:
    world, task = moving()
    world.see(challenger(world, task), TaskState.PENDING, err="no suitable node")
    world.decide()
    assert world.task(task).live
    assert world.task(task).moving_to == ""
    assert not challenger(world, task).live
    world.decide()
    assert len(world.live) == 2


def test_a_move_that_found_no_place_may_be_asked_for_again() -> None:
    """The record of the try before is still there, and is no try of this one."""
    world, task = moving()
    world.see(challenger(world, task), TaskState.PENDING, err="no suitable node")
    world.settle()
    world.pass_time(60)
    world.put(replace(world.task(task), moving_to="n2", moving_since=world.now))
    world.settle()
    assert [each.node_id for each in world.in_slot(task.slot) if each.live] == ["n1", "n2"]


def test_a_replacement_that_fails_is_not_tried_again() -> None:
    world, task = moving()
    world.see(challenger(world, task), TaskState.FAILED)
    world.decide()
    assert world.task(task).moving_to == ""
    assert [each.id for each in world.in_slot(task.slot) if each.live] == [task.id]
    world.settle()
    assert len(world.live) == 2


def test_a_node_that_is_lost_or_drained_meanwhile_gets_nothing() -> None:
    for state, availability in (("down", "active"), ("ready", "drain"), ("ready", "pause")):
        world, task = moving()
        world.node("n2", state=state, availability=availability)
        world.settle()
        kept = [each for each in world.in_slot(task.slot) if each.live]
        assert task.id in [each.id for each in kept]
        if state == "down" or availability == "drain":
            assert world.task(task).moving_to == ""
            assert len(kept) == 1


def test_a_task_that_fails_during_a_move_yields_to_the_new_one() -> None:
    world, task = moving()
    world.see(task, TaskState.FAILED)
    world.settle()
    assert [each.node_id for each in world.in_slot(task.slot) if each.live] == ["n2"]


def test_an_update_goes_before_a_move() -> None:
    world, task = moving()
    world.change(template("web:2"))
    world.decide()
    world.run("n1")
    world.stopped()
    world.settle()
    world.run("n1")
    versions = {each.spec_version for each in world.live}
    assert all(not each.moving_to or each.id == task.id for each in world.live)
    assert world.service.spec_version in versions

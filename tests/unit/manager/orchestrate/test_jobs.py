"""Jobs: so many completions at so many at a time, one on each node, again by force."""

from __future__ import annotations

import pytest

from common.model import Task, TaskState
from tests.fakes.world import World, policy, replace, template

COMPLETE, FAILED = TaskState.COMPLETE, TaskState.FAILED


def world_of(total: int, concurrent: int = 1, condition: str = "any", *, everywhere: bool = False) -> World:
    world = World()
    world.nodes("n1", "n2")
    world.job(total, concurrent, template(restart_policy=policy(condition, delay=5)), everywhere=everywhere)
    world.settle()
    return world


def end(world: World, state: TaskState, count: int = 99) -> None:
    """Let tasks that are to run do so, and end."""
    world.run("n1", "n2")
    for task in [task for task in world.live if task.desired_state is TaskState.RUNNING][:count]:
        world.see(task, state)
    world.settle()


def done(world: World) -> list[int]:
    return sorted(task.slot for task in world.tasks if task.status.state is COMPLETE)


def iteration(task: Task) -> int:
    assert task.job_iteration is not None
    return task.job_iteration.index


def test_a_job_completes_so_often_at_most_so_many_at_a_time() -> None:
    world = world_of(5, 2)
    seen = []
    while world.live:
        seen.append(sorted(task.slot for task in world.live))
        end(world, COMPLETE)
    assert seen == [[1, 2], [3, 4], [5]]
    assert done(world) == [1, 2, 3, 4, 5]
    world.pass_time(1000)
    world.settle()
    assert not world.live, "what has completed is done"


def test_a_slot_follows_as_soon_as_one_completes() -> None:
    world = world_of(5, 2)
    end(world, COMPLETE, 1)
    assert sorted(task.slot for task in world.live) == [2, 3]


@pytest.mark.parametrize("condition", ["any", "on-failure"])
def test_a_failure_is_retried_in_its_slot_and_keeps_its_place(condition: str) -> None:
    world = world_of(3, 1, condition)
    end(world, FAILED)
    (again,) = world.live
    assert (again.slot, again.desired_state) == (1, TaskState.READY)
    world.pass_time(6)
    world.settle()
    end(world, COMPLETE)
    assert sorted(task.slot for task in world.live) == [2]


def test_with_condition_none_a_failure_ends_its_slot() -> None:
    world = world_of(2, 1, "none")
    end(world, FAILED)
    end(world, COMPLETE)
    assert done(world) == [2]
    assert not world.live


def test_by_force_it_runs_again_and_what_still_runs_stops_first() -> None:
    world = world_of(2, 2)
    end(world, COMPLETE, 1)
    world.force()
    world.settle()
    first, second = sorted(world.live, key=lambda task: task.slot)
    assert [iteration(task) for task in (first, second)] == [1, 1]
    assert first.desired_state is TaskState.RUNNING
    assert second.desired_state is TaskState.READY, "the task of before has not stopped yet"
    world.stopped()
    world.settle()
    end(world, COMPLETE)
    assert [iteration(task) for task in world.tasks if task.status.state is COMPLETE] == [0, 1, 1]


def test_scaling_down_stops_surplus_tasks_and_up_completes_more() -> None:
    world = world_of(4, 4)
    mode = world.service.spec.mode
    assert mode.replicated_job is not None
    world.change(mode=replace(mode, replicated_job=replace(mode.replicated_job, total_completions=2)))
    world.settle()
    assert sorted(task.slot for task in world.live) == [1, 2]
    end(world, COMPLETE)
    world.change(mode=replace(mode, replicated_job=replace(mode.replicated_job, total_completions=3)))
    world.settle()
    assert [task.slot for task in world.live] == [3]


@pytest.mark.parametrize(("condition", "again"), [("any", 1), ("none", 0)])
def test_a_drained_or_lost_task_reruns_unless_it_is_to_run_once(condition: str, again: int) -> None:
    for change in ("drain", "lost"):
        world = world_of(1, 1, condition)
        world.run("n1")
        (task,) = world.live
        node = world.tables.nodes.get("n1")
        assert node is not None
        if change == "drain":
            world.put(replace(node, spec=replace(node.spec, availability="drain")))
        else:
            world.put(replace(node, status=replace(node.status, state="down")))
        world.settle()
        assert world.task(task).desired_state is TaskState.SHUTDOWN
        assert len(world.live) == again
        if change == "drain" and again:
            assert world.live[0].desired_state is TaskState.READY, "never two of one thing"


def test_a_global_job_completes_once_on_each_node_and_new_ones() -> None:
    world = world_of(0, everywhere=True)
    assert sorted(task.node_id for task in world.live) == ["n1", "n2"]
    end(world, COMPLETE)
    world.node("n3")
    world.node("n4", availability="drain")
    world.settle()
    assert [task.node_id for task in world.live] == ["n3"]
    end(world, COMPLETE)
    world.force()
    world.settle()
    assert sorted(task.node_id for task in world.live) == ["n1", "n2", "n3"]

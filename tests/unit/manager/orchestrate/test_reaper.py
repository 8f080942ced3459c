"""Which task records go."""

from __future__ import annotations

import pytest

from common.model import TaskState
from manager.orchestrate import reaper
from tests.fakes.world import World, replace


def running(replicas: int = 1, history: int = 5) -> World:
    world = World(history)
    world.nodes("n1")
    world.replicated(replicas)
    world.decide()
    world.run("n1")
    return world


def reap(world: World) -> None:
    world.decide(reaper.decide, *{reaper.slot_key(task) for task in world.tasks})


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

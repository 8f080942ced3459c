"""Scheduled jobs: one execution a due time, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest

from common.model import Task, TaskState
from common.model.service import ScheduleStatus
from manager.domain.executions import MOST_BESIDE, earlier_executions
from manager.orchestrate import housekeeping
from tests.fakes.world import World, policy, replace, template
from tests.unit.manager.orchestrate.test_jobs import end, iteration

MINUTE = 60.0


def scheduled(total: int = 1, *, everywhere: bool = False, condition: str = "any", **labels: str) -> World:
    """A job that is due every minute; its schedule begins half a minute before the first."""
    world = World()
    world.now = 1_800_000_030.0
    world.nodes("n1", "n2")
    world.job(total, 1, template(restart_policy=policy(condition, delay=5)), everywhere=everywhere)
    said = {"swarm.x.schedule": "* * * * *"} | {f"swarm.x.schedule-{name}": text for name, text in labels.items()}
    service = world.service
    world.put(
        replace(
            service,
            spec=replace(service.spec, labels=said),
            job_status=replace(service.job_status, last_execution=0.0),
            schedule_status=ScheduleStatus(last_at=world.now),
        )
    )
    world.settle()
    return world


def executions(world: World) -> list[int]:
    return sorted({iteration(task) for task in world.tasks})


def next_at(world: World) -> float:
    assert world.service.schedule_status is not None
    return world.service.schedule_status.next_at


def test_it_runs_when_it_is_due_and_asks_to_be_woken_then() -> None:
    world = scheduled()
    assert not world.tasks
    assert next_at(world) == 1_800_000_060.0
    assert world.decide().wake_at["s"] == next_at(world)
    for number in range(3):
        world.now = next_at(world)
        world.settle()
        world.settle()
        assert executions(world) == list(range(number + 1))
        end(world, TaskState.COMPLETE)


@pytest.mark.parametrize(("concurrency", "expected"), [("forbid", [0]), ("replace", [0, 1])])
def test_a_due_one_while_the_one_before_is_not_through(concurrency: str, expected: list[int]) -> None:
    world = scheduled(concurrency=concurrency)
    for _ in range(2):
        world.now = next_at(world)
        world.settle()
        world.run("n1")
    assert executions(world) == expected
    world.stopped()
    world.settle()
    assert [iteration(task) for task in world.live] == expected[-1:]


def test_between_two_slots_of_a_job_it_is_not_through_either() -> None:
    world = scheduled(2)
    world.now = next_at(world)
    world.settle()
    world.run("n1")
    world.now = next_at(world)
    world.see(world.live[0], TaskState.COMPLETE)
    world.settle()
    assert executions(world) == [0]


@pytest.mark.parametrize(("labels", "count"), [({}, 1), ({"deadline": "40s"}, 1), ({"deadline": "20s"}, 0)])
def test_the_last_missed_execution_is_run_within_its_deadline(labels: dict[str, Any], count: int) -> None:
    world = scheduled(**labels)
    world.pass_time(10 * MINUTE)  # half a minute after the last due time
    world.settle()
    assert len(executions(world)) == count
    world.settle()
    assert len(world.tasks) == count


def test_old_executions_go_as_the_history_says() -> None:
    world = scheduled(history="2")
    for _ in range(6):
        world.now = next_at(world)
        world.settle()
        end(world, TaskState.COMPLETE)
    kept = {iteration(task) for task in world.tasks if task.desired_state < TaskState.REMOVE}
    assert kept == {3, 4, 5}


def due(world: World) -> None:
    """Let the next due time come, and what it begins run."""
    world.now = next_at(world)
    world.settle()
    world.run("n1", "n2")


def of(world: World, number: int) -> list[Task]:
    return sorted((task for task in world.tasks if iteration(task) == number), key=lambda task: task.created_at)


def alive(world: World) -> list[tuple[int, int]]:
    return sorted((iteration(task), task.slot) for task in world.live)


def test_executions_overlap_and_each_counts_its_own_completions() -> None:
    world = scheduled(2, concurrency="allow")
    for _ in range(3):
        due(world)
    assert alive(world) == [(0, 1), (1, 1), (2, 1)], "each has its first slot, one at a time"
    world.see(of(world, 0)[0], TaskState.COMPLETE)
    world.settle()
    assert alive(world) == [(0, 2), (1, 1), (2, 1)]
    world.run("n1")
    world.see(of(world, 0)[1], TaskState.COMPLETE)
    world.settle()
    assert alive(world) == [(1, 1), (2, 1)]
    assert earlier_executions(world.service) == (1,), "the first is through"


def test_a_failure_is_tried_again_in_its_own_execution() -> None:
    world = scheduled(concurrency="allow")
    due(world)
    due(world)
    world.see(of(world, 0)[0], TaskState.FAILED)
    world.settle()
    assert alive(world) == [(0, 1), (1, 1)]
    again = of(world, 0)[-1]
    assert (again.slot, again.desired_state, again.restart.attempts) == (1, TaskState.READY, 1)
    world.pass_time(6)
    world.settle()
    assert world.task(again).desired_state is TaskState.RUNNING, "the other execution's task is nothing to wait for"


def test_an_execution_that_gives_up_is_through() -> None:
    world = scheduled(condition="none", concurrency="allow")
    due(world)
    due(world)
    world.see(of(world, 0)[0], TaskState.FAILED)
    world.settle()
    assert (alive(world), earlier_executions(world.service)) == ([(1, 1)], ())


def test_a_global_jobs_executions_overlap_and_ignore_lost_nodes() -> None:
    world = scheduled(0, everywhere=True, concurrency="allow")
    due(world)
    due(world)
    assert sorted((iteration(task), task.node_id) for task in world.live) == [
        (number, node) for number in (0, 1) for node in ("n1", "n2")
    ]
    node = world.tables.nodes.get("n2")
    assert node is not None
    world.put(replace(node, status=replace(node.status, state="down")))
    world.see(next(task for task in of(world, 0) if task.node_id == "n1"), TaskState.COMPLETE)
    world.settle()
    assert earlier_executions(world.service) == ()
    world.put(node)
    world.stopped()
    world.settle()
    assert sorted((iteration(task), task.node_id) for task in world.live) == [(1, "n1"), (1, "n2")]


@pytest.mark.parametrize("concurrency", ["forbid", "replace"])
def test_when_that_is_allowed_no_more_the_newest_alone_goes_on(concurrency: str) -> None:
    world = scheduled(concurrency="allow")
    for _ in range(3):
        due(world)
    world.change(labels=world.service.spec.labels | {"swarm.x.schedule-concurrency": concurrency})
    world.settle()
    assert alive(world) == [(2, 1)]
    world.change(labels=world.service.spec.labels | {"swarm.x.schedule-concurrency": "allow"})
    world.stopped()
    world.settle()
    assert alive(world) == [(2, 1)], "what was stopped is not begun again"


def test_all_stop_with_the_service() -> None:
    world = scheduled(concurrency="allow")
    for _ in range(3):
        due(world)
    world.put(replace(world.service, pending_delete=True))
    world.settle()
    assert not world.live


def test_history_counts_finished_executions_and_not_active_ones() -> None:
    world = scheduled(concurrency="allow", history="2")
    due(world)  # this one goes on
    for _ in range(5):
        due(world)
        for task in world.live:
            if iteration(task):
                world.see(task, TaskState.COMPLETE)
        world.settle()
    kept = {iteration(task) for task in world.tasks if task.desired_state < TaskState.REMOVE}
    assert kept == {0, 3, 4, 5}


def test_the_reaper_leaves_what_tells_how_far_an_execution_is() -> None:
    """Without it the first slot of the first execution, long completed, would be executed again."""
    world = scheduled(2, concurrency="allow")
    due(world)
    world.see(of(world, 0)[0], TaskState.COMPLETE)
    world.settle()
    for _ in range(8):
        due(world)
        for task in world.live:
            if iteration(task):
                world.see(task, TaskState.FAILED)
        world.settle()
    world.decide(housekeeping.reap_records, *{housekeeping.slot_key(task) for task in world.tasks})
    assert [task.slot for task in of(world, 0)] == [1, 2]


def test_executions_beside_each_other_are_bounded() -> None:
    world = scheduled(concurrency="allow")
    for _ in range(MOST_BESIDE + 3):
        due(world)
    assert len(earlier_executions(world.service)) == MOST_BESIDE
    assert len(world.live) == MOST_BESIDE + 1

"""Scheduled jobs: one execution a due time, whatever happens in between."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import TaskState
from common.model.service import ScheduleStatus
from tests.fakes.world import World, policy, replace, template
from tests.unit.manager.orchestrate.test_jobs import end, iteration

MINUTE = 60.0


def scheduled(total: int = 1, **labels: str) -> World:
    """A job that is due every minute; its schedule begins half a minute before the first."""
    world = World()
    world.now = 1_800_000_030.0
    world.nodes("n1", "n2")
    world.job(total, 1, template(restart_policy=policy(delay=5)))
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
def test_of_those_missed_the_last_is_made_up_for_within_its_deadline(labels: dict[str, str], count: int) -> None:
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


@settings(max_examples=80, deadline=None)
@given(
    gaps=st.lists(st.floats(0.5, 300), max_size=15),
    concurrency=st.sampled_from(["forbid", "replace"]),
    completes=st.booleans(),
)
def test_a_due_time_never_begins_two_executions(gaps: list[float], concurrency: str, *, completes: bool) -> None:
    """Whenever it is looked at, as after a manager was away: what was decided last is all that is remembered."""
    world = scheduled(concurrency=concurrency)
    seen: list[float] = []
    for gap in gaps:
        before = world.service.schedule_status
        world.pass_time(gap)
        world.settle()
        after = world.service.schedule_status
        assert before is not None
        assert after is not None
        if after.last_at != before.last_at:
            seen.append(after.last_at)
            assert after.last_at % MINUTE == 0
            assert 0 <= world.now - after.last_at < MINUTE
        if completes:
            end(world, TaskState.COMPLETE)
            world.stopped()
            world.settle()
    assert seen == sorted(set(seen))
    assert len(executions(world)) <= len(seen)
    newest = world.service.job_status
    assert newest is not None
    if completes and seen:
        assert newest.job_iteration.index == len(seen) - 1, "each due time that was found has its execution"

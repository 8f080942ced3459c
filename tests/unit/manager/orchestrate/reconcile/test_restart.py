"""Restarts: policy, back-off, attempts, and what a new manager knows of them."""

from __future__ import annotations

import random

import pytest

from common.model import Task, TaskState
from common.model.container import ContainerSpec, Mount
from common.model.service import RestartPolicy, TaskSpec
from manager.orchestrate.reconcile.restart import LONGEST_DELAY, OLD_TASK_PATIENCE, STABLE_RUN, delay
from manager.schedule.load import waiting
from tests.fakes.world import World, policy, replace, template


def one(restart: RestartPolicy | None = None) -> World:
    """Return a world in which a service's one task runs on n1."""
    world = World()
    world.nodes("n1", "n2")
    world.replicated(1, template(restart_policy=restart))
    world.decide()
    world.run("n1")
    return world


def end(world: World, state: TaskState = TaskState.FAILED, after: float = 1.0) -> None:
    """Let the live task end after it ran for a while, and decide."""
    world.pass_time(after)
    world.see(world.live[0], state)
    world.decide()


def begin(world: World) -> float:
    """Wait for the replacement's time, let it run, and return how long it had to wait."""
    (task,) = world.live
    wait = max(0.0, task.restart.not_before - world.now)
    world.pass_time(wait)
    world.decide()
    assert world.task(task).desired_state is TaskState.RUNNING
    world.run("n1")
    return wait


def test_a_replacement_is_prepared_and_started_after_the_delay() -> None:
    world = one()
    first = world.live[0]
    end(world)
    old, new = world.in_slot(1)
    assert (old.id, old.desired_state) == (first.id, TaskState.SHUTDOWN)
    assert new.desired_state is TaskState.READY
    assert new.restart.attempts == new.restart.streak == 1
    assert world.now + 5 <= new.restart.not_before <= world.now + 5.5
    decision = world.decide()
    assert not decision
    assert decision.wake_at == {"s": new.restart.not_before}
    world.now = new.restart.not_before
    world.decide()
    assert world.task(new).desired_state is TaskState.RUNNING


def test_the_reason_names_task_and_cause() -> None:
    world = one()
    task = world.see(world.live[0], TaskState.FAILED, err="exit 137")
    (reason,) = world.decide().reasons
    assert task.name in reason
    assert "failed (exit 137)" in reason


@pytest.mark.parametrize(
    ("condition", "state", "restarts"),
    [
        ("any", TaskState.COMPLETE, True),
        ("any", TaskState.FAILED, True),
        ("any", TaskState.REJECTED, True),
        ("on-failure", TaskState.COMPLETE, False),
        ("on-failure", TaskState.FAILED, True),
        ("none", TaskState.COMPLETE, False),
        ("none", TaskState.FAILED, False),
    ],
)
def test_condition(condition: str, state: TaskState, restarts: bool) -> None:
    world = one(policy(condition))
    end(world, state)
    assert len(world.live) == restarts
    world.pass_time(3600)
    world.decide()
    assert len(world.live) == restarts, "a finished slot stays finished"
    assert len({task.slot for task in world.tasks}) == 1


def test_delays_double_to_five_minutes_and_reset_after_stability() -> None:
    world = one()
    waits = []
    for _ in range(9):
        end(world)
        waits.append(begin(world))
    for wait, expected in zip(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300], strict=True):
        assert expected <= wait <= min(expected * 1.1, LONGEST_DELAY)
    end(world, after=STABLE_RUN)
    assert begin(world) <= 5.5


def test_only_after_a_rejection_no_replacement_is_prepared_early() -> None:
    world = one()
    end(world, TaskState.REJECTED)
    (task,) = world.live
    world.put(replace(task, status=replace(task.status, state=TaskState.PENDING)))
    assert not waiting(world.task(task)), "no node is to have it yet"
    world.now = task.restart.not_before
    world.decide()
    assert waiting(world.task(task))
    begin(world)
    end(world, TaskState.FAILED)
    (task,) = world.live
    world.put(replace(task, status=replace(task.status, state=TaskState.PENDING)))
    assert (waiting(world.task(task)), task.desired_state) == (True, TaskState.READY)


def test_a_replacement_that_moves_waits_as_long_as_before() -> None:
    world = one()
    end(world)
    prepared = world.see(world.live[0], TaskState.ASSIGNED, "n1")
    world.node("n1", state="down")
    world.decide()
    (moved,) = [task for task in world.live if task.id != prepared.id]
    assert moved.restart == prepared.restart


@pytest.mark.parametrize("mounts", [(), (Mount(source="data", target="/data"),)], ids=["no data", "data"])
def test_an_old_task_that_may_write_is_awaited_until_it_stops(mounts: tuple[Mount, ...]) -> None:
    world = World()
    world.nodes("n1")
    first, changed = (
        TaskSpec(container_spec=ContainerSpec(image=image, mounts=mounts)) for image in ("web:1", "web:2")
    )
    world.replicated(1, first)
    world.decide()
    world.run("n1")
    world.change(changed)
    world.decide()
    (following,) = world.live
    world.pass_time(OLD_TASK_PATIENCE + 1)
    world.decide()
    assert world.task(following).desired_state is (TaskState.READY if mounts else TaskState.RUNNING)


def test_completed_tasks_restart_at_the_same_pace() -> None:
    world = one(policy(delay=60))
    for _ in range(5):
        end(world, TaskState.COMPLETE)
        assert 60 <= begin(world) <= 66


def test_a_policy_slower_than_the_limit_keeps_its_delay() -> None:
    assert delay(policy(delay=3600), 1, random.Random(1)) == 3600
    assert delay(policy(delay=3600), 9, random.Random(1)) == 3600


def test_no_delay_backs_off_from_the_second_failure() -> None:
    rng = random.Random(1)
    assert delay(policy(delay=0), 1, rng) == 0
    assert [round(delay(policy(delay=0), streak, rng)) for streak in (2, 3, 4)] == [1, 2, 4]


@pytest.mark.parametrize("window", [None, 1000.0, 2.0])
def test_attempts_trip_whatever_window_and_delay_are(window: float | None) -> None:
    """swarmkit#2936: with a window shorter than the delay they never did."""
    world = one(policy(delay=5, attempts=3, window=window))
    for _ in range(3):
        end(world)
        begin(world)
    end(world)
    assert not world.live
    assert len(world.in_slot(1)) == 4


def test_a_run_as_long_as_the_window_has_succeeded() -> None:
    world = one(policy(delay=5, attempts=2, window=30))
    for _ in range(6):
        end(world, after=30)
        begin(world)
    assert len(world.live) == 1


def test_an_unbounded_window_counts_for_ever() -> None:
    world = one(policy(delay=5, attempts=2))
    for _ in range(2):
        end(world, after=3600)
        begin(world)
    end(world, after=3600)
    assert not world.live


def test_a_new_specification_starts_afresh() -> None:
    world = one(policy(attempts=1))
    end(world)
    begin(world)
    end(world)
    assert not world.live
    world.change(template("web:2", restart_policy=policy(attempts=1)))
    world.decide()
    (task,) = world.live
    assert task.restart.attempts == task.restart.streak == 0


@pytest.mark.parametrize(("state", "least", "most"), [(TaskState.FAILED, 0, 0), (TaskState.COMPLETE, 5, 5.5)])
def test_another_specification_waits_for_no_back_off(state: TaskState, least: float, most: float) -> None:
    """A slot that fails before its turn in an update comes back with the mended specification, and so at once."""
    world = one()
    for _ in range(4):
        end(world)
        begin(world)
    world.change(template("web:2"))
    world.see(world.live[0], state)
    world.decide()
    (task,) = world.live
    assert task.spec == world.service.spec.task_template
    assert task.restart.attempts == task.restart.streak == 0
    assert least <= max(0.0, task.restart.not_before - world.now) <= most


def test_a_new_manager_decides_the_same() -> None:
    """Nothing but the state counts: another decider with the same randomness gives the same answer."""
    world = one(policy(attempts=5))
    end(world)
    begin(world)
    world.see(world.live[0], TaskState.FAILED)
    state = world.rng.getstate()
    decisions = []
    for _ in range(2):
        twin = World()
        twin.tables, twin.now = world.tables, world.now
        twin.rng.setstate(state)
        from manager.orchestrate.reconcile import services

        decisions.append(services.decide(twin.tables, ["s"], twin.now, twin.rng))
    assert decisions[0] == decisions[1]
    assert decisions[0]


def stop(world: World) -> Task:
    """Tell the live task to stop, as the enforcer does."""
    task = world.live[0]
    world.put(replace(task, desired_state=TaskState.SHUTDOWN))
    return task


def test_a_replacement_waits_for_the_old_task_to_stop() -> None:
    world = one()
    old = stop(world)
    world.decide()
    (new,) = world.live
    assert new.desired_state is TaskState.READY
    world.see(old, TaskState.SHUTDOWN)
    world.decide()
    assert world.task(new).desired_state is TaskState.RUNNING


def test_a_replacement_waits_at_most_a_minute() -> None:
    world = one()
    stop(world)
    world.decide()
    (new,) = world.live
    assert world.decide().wake_at == {"s": new.created_at + 60}
    world.pass_time(60.1)
    world.decide()
    assert world.task(new).desired_state is TaskState.RUNNING


def test_a_replacement_does_not_wait_for_a_task_on_a_down_node() -> None:
    world = one()
    stop(world)
    world.decide()
    world.node("n1", state="down")
    world.decide()
    assert [task.desired_state for task in world.live] == [TaskState.RUNNING]


def test_it_does_not_wait_for_a_task_that_no_worker_had() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(1)
    world.decide()
    stop(world)
    world.decide()
    assert [task.desired_state for task in world.live] == [TaskState.RUNNING]

"""Rolling updates that do not get on: the progress deadline, pauses, places that the old task holds, past specs."""

from __future__ import annotations

import pytest

from common.model import Task, TaskState
from common.model.node import NodeDescription, NodeResources
from common.model.service import Reservations, Resources, TaskSpec
from common.model.update import UpdateState, UpdateStatus
from manager.domain import revisions, update_status
from tests.fakes.world import World, policy, replace, template, update_config
from tests.unit.manager.orchestrate.update.test_rolling import NEW, image, new, old, running, state

DEADLINE = {"swarm.x.progress-deadline": "60s"}


def message(world: World) -> str:
    assert world.service.update_status is not None
    return update_status.message(world.service.update_status)


@pytest.mark.parametrize(("labels", "deadline"), [({}, 600), (DEADLINE, 60)])
def test_an_update_without_progress_fails_at_its_deadline(labels: dict[str, str], deadline: int) -> None:
    world = running(4, labels=labels)
    world.change(template(NEW))
    world.decide()
    world.stopped()
    world.decide()
    world.see(new(world)[0], TaskState.PREPARING, "n1")
    world.pass_time(deadline - 1)
    decision = world.decide()
    assert state(world) == "updating"
    assert decision.wake_at["s"] == pytest.approx(world.now + 1, abs=0.01)
    world.pass_time(1.1)
    world.decide()
    assert state(world) == "paused"
    assert f"no progress for {deadline} s: task {new(world)[0].id} does not run" in message(world)


def test_the_deadline_counts_from_the_last_progress() -> None:
    world = running(4, labels=DEADLINE)
    world.change(template(NEW))
    for _ in range(4):
        world.decide()
        world.stopped()
        world.decide()
        world.pass_time(50)
        world.decide()
        world.run("n1")
    assert state(world) == "updating"
    assert len(new(world)) == 4


def test_an_overdue_update_rolls_back_if_configured_or_pauses() -> None:
    world = running(2, labels=DEADLINE, update_config=update_config(failure_action="rollback"))
    world.change(template(NEW))
    world.decide()
    world.stopped()
    world.decide()
    world.pass_time(61)
    world.decide()
    assert state(world) == "rollback_started"
    world.settle()
    world.stopped()
    world.settle()
    world.pass_time(61)
    world.decide()
    assert state(world) == "rollback_paused", "a rollback never rolls back"


def test_with_the_action_continue_an_update_goes_on_waiting() -> None:
    world = running(2, labels=DEADLINE, update_config=update_config(failure_action="continue"))
    world.change(template(NEW))
    world.decide()
    world.pass_time(700)
    world.decide()
    assert state(world) == "updating"


def paused() -> World:
    """An update that its first task's failure paused."""
    world = running(3)
    world.change(template(NEW))
    world.decide()
    world.stopped()
    world.decide()
    world.see(new(world)[0], TaskState.FAILED, "n1")
    world.settle()
    assert state(world) == "paused"
    return world


def test_a_paused_update_does_nothing_and_forgives_when_resumed() -> None:
    world = paused()
    world.pass_time(10)
    world.settle()
    assert len(old(world)) == 2
    status = world.service.update_status
    assert status is not None
    world.put(replace(world.service, update_status=replace(status, state=UpdateState.UPDATING, resumed_at=world.now)))
    for _ in range(8):
        world.pass_time(6)
        world.settle()
        world.stopped()
        world.settle()
        world.run("n1", "n2")
    world.pass_time(6)
    world.settle()
    assert state(world) == "completed"
    assert not old(world)


def reserving(image_name: str, memory: int) -> TaskSpec:
    return template(image_name, resources=Resources(reservations=Reservations(memory_bytes=memory)))


def started_first(memory: int, status: UpdateStatus | None = None) -> tuple[World, Task, Task]:
    """A start-first update on a node of 100 bytes of memory, half of it used; the new task is refused there.

    With `status` it is one that stands so, as a rollback.
    """
    world = World()
    node = world.node("n1")
    world.put(replace(node, description=NodeDescription(resources=NodeResources(memory_bytes=100))))
    config = update_config(order="start-first")
    world.replicated(1, reserving("web:1", 50), update_config=config, rollback_config=config)
    world.decide()
    world.run("n1")
    world.change(reserving(NEW, memory))
    if status is not None:
        world.put(replace(world.service, update_status=status))
    world.decide()
    (incumbent,), (challenger,) = old(world), new(world)
    world.see(challenger, TaskState.PENDING, err="no suitable node (insufficient resources on 1 node)")
    world.decide()
    return world, world.task(incumbent), world.task(challenger)


def test_the_old_task_yields_if_only_its_reservation_blocks() -> None:
    world, incumbent, challenger = started_first(memory=80)
    assert incumbent.desired_state is TaskState.SHUTDOWN
    assert challenger.live
    assert "slot 1: the new task cannot run beside the old one" in message(world)
    assert "insufficient resources" in message(world)


@pytest.mark.parametrize("memory", [120, 30])
def test_the_old_task_stays_where_its_end_would_not_help(memory: int) -> None:
    _, incumbent, _ = started_first(memory)
    assert incumbent.desired_state is TaskState.RUNNING


def test_an_automatic_rollback_keeps_the_failed_revision() -> None:
    world = running(2, update_config=update_config(failure_action="rollback"))
    service = world.service
    world.put(revisions.with_spec(service, replace(service.spec, task_template=template(NEW)), world.now))
    world.put(replace(world.service, spec_version=world.tables.index + 1))
    world.decide()
    world.stopped()
    world.decide()
    world.see(new(world)[0], TaskState.FAILED, "n1")
    world.settle()
    assert state(world).startswith("rollback")
    assert world.service.revision == 3
    assert [past.revision for past in world.service.history] == [2, 1]
    assert {image(task) for task in world.live} == {"web:1"}


def test_a_new_task_lost_before_it_ran_holds_back_nothing() -> None:
    """Start-first, one at a time: the update waited for a task that was told to stop on a node that is gone."""
    world = running(3, update_config=update_config(order="start-first", failure_action="continue"))
    world.node("lost")
    world.change(template(NEW))
    world.decide()
    (first,) = new(world)
    world.see(first, TaskState.ASSIGNED, "lost")
    node = world.tables.nodes.get("lost")
    assert node is not None
    world.put(replace(node, status=replace(node.status, state="down")))
    world.settle()
    assert world.task(first).desired_state is TaskState.SHUTDOWN
    for _ in range(6):
        world.run("n1")
        world.settle()
        assert len([task for task in new(world) if task.status.state < TaskState.RUNNING]) <= 1
        world.pass_time(6)
    world.settle()
    assert (state(world), len(new(world)), old(world)) == ("completed", 3, [])


@pytest.mark.parametrize(("end", "stays"), [(TaskState.COMPLETE, 0), (TaskState.FAILED, 1)])
def test_a_new_task_that_completes_early_ends_its_turn(end: TaskState, stays: int) -> None:
    """When it has completed the old one has nothing more to do, and serves on when it failed.

    The decider went round and round: the update completed and began again, as the old one was out of date for ever.
    """
    config = update_config(order="start-first", failure_action="continue", monitor=1)
    world = running(1, template(restart_policy=policy("none")), update_config=config)
    world.change(template(NEW, restart_policy=policy("none")))
    world.settle()
    (task,) = new(world)
    world.see(task, end, "n2")
    world.settle()
    world.pass_time(2)
    world.settle()
    assert state(world) == "completed"
    assert (len(new(world)), len(old(world))) == (0, stays)

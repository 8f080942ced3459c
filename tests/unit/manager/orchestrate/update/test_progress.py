"""How far an update is, as the API tells it: counted from the tasks, for all who ask."""

from __future__ import annotations

import pytest

from common.model import Service, TaskState
from common.model.service import ServiceSpec
from common.model.update import (
    Action,
    Awaited,
    CanaryHolds,
    Condition,
    Requested,
    StopsFirst,
    TasksFailed,
    UpdateProgress,
    UpdateState,
    UpdateStatus,
)
from manager.orchestrate.update.progress import update_progress
from tests.fakes.world import World, replace, template, update_config
from tests.unit.manager.orchestrate.update.test_canary import updated, work
from tests.unit.manager.orchestrate.update.test_limits import started_first
from tests.unit.manager.orchestrate.update.test_rolling import NEW, new, running, state, turn


def told(world: World) -> UpdateProgress:
    return update_progress(world.service, world.tables, world.now)


def status_of(world: World) -> UpdateStatus:
    assert world.service.update_status is not None
    return world.service.update_status


def test_running_new_tasks_and_those_under_change_are_counted() -> None:
    world = running(4, update_config=update_config(parallelism=2, monitor=5))
    world.change(template(NEW))
    world.decide()
    assert told(world) == UpdateProgress(done=0, of=4, batch=2), "the new tasks do not run yet"
    world.stopped()
    world.decide()
    world.run("n1")
    world.pass_time(1)
    assert told(world) == UpdateProgress(done=2, of=4, batch=0, monitor_until=world.now + 4)
    for _ in range(3):
        turn(world)
    assert told(world).done == 4
    world.pass_time(6)
    assert told(world).monitor_until == 0, "that is over"
    world.decide()
    assert state(world) == "completed"


def test_a_delay_is_a_part_of_the_batch() -> None:
    world = running(2, update_config=update_config(delay=30))
    world.change(template(NEW))
    world.decide()
    turn(world)
    assert (told(world).done, told(world).batch) == (1, 1)


def test_a_task_that_need_not_be_changed_is_done() -> None:
    world = running(3)
    world.change(template(constraints=("node.role != manager",)))
    world.put(replace(world.service, update_status=UpdateStatus(state=UpdateState.UPDATING, started_at=world.now)))
    assert told(world) == UpdateProgress(done=3, of=3)


@pytest.mark.parametrize(("period", "left"), [("", 0), ("60s", 60)])
def test_of_a_canary_it_says_when_the_update_goes_on_by_itself(period: str, left: float) -> None:
    world = updated(2, period)
    work(world, 3)
    status = status_of(world)
    assert status.reason == CanaryHolds(updated=2, of=5)
    assert told(world) == UpdateProgress(done=2, of=5, monitor_until=status.held_at + left if left else 0)


def test_it_names_what_a_first_start_waits_for() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(3, labels={"swarm.x.depends-on": "db=started"})
    world.put(Service(id="db", spec=ServiceSpec(name="db", task_template=template("db:1"))))
    world.decide()
    waits = (Awaited(service="db", condition=Condition.STARTED),)
    assert world.service.waits_for == waits
    assert told(world) == UpdateProgress(done=0, of=3, waits_for=waits)


def test_a_failed_update_says_how_many_why_and_what_it_restores() -> None:
    config = update_config(failure_action="rollback", max_failure_ratio=0.3, parallelism=2)
    world = running(4, update_config=config)
    world.put(replace(world.service, revision=1))
    world.change(template(NEW))
    (previous,) = [world.service.previous_spec]
    assert previous is not None
    world.decide()
    turn(world)
    failed = [task for task in new(world) if task.status.state is TaskState.RUNNING][:2]
    for task in failed:
        world.see(task, TaskState.FAILED, err="exit 3")
    world.decide()
    reason = status_of(world).reason
    assert isinstance(reason, TasksFailed)
    assert (reason.failed, reason.of, reason.error) == (2, 4, "exit 3")
    assert reason.task in {task.id for task in failed}
    for _ in range(8):
        turn(world)
        world.pass_time(6)
    assert (state(world), status_of(world).reason) == ("rollback_completed", reason), "why is kept to the end"


def test_a_rollbacks_remarks_keep_the_reason_for_it() -> None:
    reason = Requested(action=Action.ROLLBACK, by="ann")
    rollback = UpdateStatus(state=UpdateState.ROLLBACK_STARTED, started_at=1000.0, reason=reason)
    world, _, _ = started_first(80, rollback)
    assert status_of(world).state is UpdateState.ROLLBACK_STARTED
    assert isinstance(status_of(world).remark, StopsFirst)
    assert status_of(world).reason == reason


def test_an_old_sentence_goes_when_the_update_goes_on() -> None:
    world = running(3)
    world.change(template(NEW))
    world.decide()
    stored = replace(status_of(world), message="waits for db to be healthy")
    world.put(replace(world.service, update_status=stored))
    turn(world)
    assert status_of(world).message == ""
    assert state(world) == "updating"

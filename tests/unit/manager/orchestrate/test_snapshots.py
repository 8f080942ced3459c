"""Snapshots for which tasks stop are made before the task that mounts them has a node."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from common.model import StoredObject, Task, TaskState, TaskStatus, Transfer
from manager.domain.volume_claims import Claims
from manager.domain.volumes import Nowhere, Only, places
from manager.orchestrate.snapshots import LOOK_AGAIN, RETRY_SECONDS, concerned_tasks, decide, waiting_tasks
from manager.store.changes import Change, Decision
from manager.store.tables import Tables
from tests.fakes.volumes import claim, copy, mount, service, task
from tests.unit.manager.schedule.worlds import node

NOW = 1000.0
DB = service("db", "data")
BACKUP = service("backup", mount("data", snapshot="stop"))
TASK = task(BACKUP)
NAME = f"data.{TASK.id}"


def world(*values: StoredObject) -> Tables:
    view = Tables()
    found = node("b")
    able = replace(found, description=replace(found.description, volumes=True, snapshots=True))
    for value in (able, DB, BACKUP, TASK, claim("db.1", "data", "b"), copy("b", "data"), *values):
        view.of(type(value)).put(value)
    return view


def decided(view: Tables, seed: int = 1) -> Decision:
    return decide(view, [TASK.id], NOW, Random(seed))


def begun(view: Tables, seed: int = 1) -> Transfer:
    (found,) = decided(view, seed).put
    assert isinstance(found, Transfer)
    return found


def where(view: Tables, waiting: Task = TASK) -> str:
    found = places(waiting, Claims(view))
    return found.reason if isinstance(found, Nowhere) else getattr(found, "node_id", "")


def test_the_snapshot_is_made_and_then_the_task_placed() -> None:
    view = world()
    assert list(waiting_tasks(view)) == [TASK.id]
    assert where(view) == "waits for a snapshot of volume data, for which the tasks that write to it stop"
    made = begun(view)
    assert (made.operation, made.hold, made.volumes, made.as_name) == ("copy", "stop", ("data",), NAME)
    assert (made.source, made.target, made.task) == ("b", "b", TASK.id)
    assert not decided(world(made)).put, "it is under way"
    there = world(replace(made, phase="done"), copy("b", NAME, made.data_id, generation=2))
    assert places(TASK, Claims(there)) == Only("b", "data")
    assert not decided(there).put


def test_one_that_was_broken_off_goes_on() -> None:
    partial = copy("b", NAME, "f" * 32, generation=0)
    assert begun(world(partial)).data_id == "f" * 32
    assert where(world(partial)).startswith("waits for a snapshot")


def test_one_that_has_failed_says_so_and_is_tried_again() -> None:
    failed = replace(begun(world()), phase="failed", error="no room", updated_at=NOW - 1, stopped_at=1.0)
    view = world(failed)
    assert where(view) == "the snapshot of volume data cannot be made: no room. That is tried again every minute"
    assert not decided(view).put
    assert decided(view).wake_at == {TASK.id: NOW + LOOK_AGAIN}
    again = begun(world(replace(failed, updated_at=NOW - RETRY_SECONDS)), seed=2)
    assert (again.phase, again.id == failed.id) == ("copying", False)


def test_one_that_cannot_begin_has_one_record_that_says_why() -> None:
    moving = Transfer(id="m", volumes=("data",), source="b", target="c")
    refused = begun(world(moving))
    assert (refused.phase, refused.error) == ("failed", "volume data is being moved already")
    later = begun(world(moving, replace(refused, updated_at=NOW - RETRY_SECONDS)), seed=2)
    assert later.id == refused.id


def test_nothing_is_made_without_need_or_place() -> None:
    held = replace(TASK, desired_state=TaskState.READY)
    paused = task(service("paused", mount("data", snapshot="pause")))
    placed = replace(TASK, node_id="b", status=TaskStatus(state=TaskState.ASSIGNED))
    for each in (held, paused, placed):
        assert not list(concerned_tasks(Change(None, each), world()))
    elsewhere = world(replace(claim("db.1", "data", "b"), node_id="gone"))
    assert decided(elsewhere) == Decision(wake_at={TASK.id: NOW + LOOK_AGAIN})


def test_the_end_of_a_copy_concerns_its_task() -> None:
    made = begun(world())
    assert not list(concerned_tasks(Change(None, made), world()))
    assert list(concerned_tasks(Change(made, replace(made, phase="done")), world())) == [TASK.id]

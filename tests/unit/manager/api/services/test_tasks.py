"""What a task's JSON says beside its record: waiting for a restart, and what is wanted of a job's."""

from __future__ import annotations

import pytest

from common.model import Task, TaskState, TaskStatus
from common.model.meta import Version
from common.model.task import RestartRecord
from manager.api.render import JsonCache
from manager.api.services.tasks import task_view
from manager.cli import codec
from manager.cli.service.task_rows import back_off
from manager.store.transaction import Tables

NOON = 1_700_049_600.0


def waiting(streak: int, state: TaskState = TaskState.READY, desired: TaskState = TaskState.READY) -> Task:
    record = RestartRecord(attempts=streak, streak=streak, not_before=NOON)
    return Task(id="t", slot=1, desired_state=desired, status=TaskStatus(state=state), restart=record)


def shown(task: Task) -> dict[str, object]:
    view = task_view(task, Tables(), JsonCache())
    assert isinstance(view["Status"], dict)
    return view


@pytest.mark.parametrize(
    ("streak", "err", "left"),
    [
        (0, "starts again at 2023-11-15T12:00:00Z", "starts again in 40 s"),
        (1, "next try at 2023-11-15T12:00:00Z (attempt 2)", "next try in 40 s (attempt 2)"),
        (
            4,
            "crash loop, 4 failures in a row: next try at 2023-11-15T12:00:00Z (attempt 5)",
            "crash loop: next try in 40 s (attempt 5)",
        ),
    ],
)
def test_a_waiting_restart_says_until_when_and_its_number(streak: int, err: str, left: str) -> None:
    view = shown(waiting(streak))
    assert view["Status"]["Err"] == err  # type: ignore[index]
    task = codec.task({**view, "Spec": {}})
    assert back_off(task, NOON - 40) == left
    assert back_off(task, NOON + 1) == ""


@pytest.mark.parametrize(
    "task",
    [waiting(4, desired=TaskState.RUNNING), waiting(4, TaskState.FAILED), Task(id="t", desired_state=TaskState.READY)],
)
def test_what_does_not_wait_says_nothing(task: Task) -> None:
    view = shown(task)
    assert "Restart" not in view
    assert "Err" not in view["Status"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("state", "desired", "name"),
    [
        (TaskState.RUNNING, TaskState.RUNNING, "complete"),
        (TaskState.COMPLETE, TaskState.SHUTDOWN, "complete"),
        (TaskState.FAILED, TaskState.SHUTDOWN, "shutdown"),
        (TaskState.COMPLETE, TaskState.REMOVE, "remove"),
        (TaskState.READY, TaskState.READY, "ready"),
    ],
)
def test_a_jobs_task_is_to_complete(state: TaskState, desired: TaskState, name: str) -> None:
    task = Task(id="t", job_iteration=Version(), desired_state=desired, status=TaskStatus(state=state))
    assert shown(task)["DesiredState"] == name

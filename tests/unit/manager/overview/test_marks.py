"""What a task is shown as."""

import pytest

from common.model import Task, TaskState, TaskStatus
from manager.overview.marks import Mark, completed, failed, mark_of


def task(state: TaskState, desired: TaskState = TaskState.RUNNING, node: str = "n") -> Task:
    return Task(id="t", node_id=node, status=TaskStatus(state=state), desired_state=desired)


@pytest.mark.parametrize(
    ("seen", "mark"),
    [
        (task(TaskState.NEW, node=""), Mark.WAITING),
        (task(TaskState.PENDING, node=""), Mark.WAITING),
        (task(TaskState.PENDING), Mark.WAITING),  # meant for a node, and not given to it
        (task(TaskState.ASSIGNED), Mark.STARTING),
        (task(TaskState.RUNNING), Mark.RUNNING),
        (task(TaskState.RUNNING, TaskState.SHUTDOWN), Mark.STOPPING),
        (task(TaskState.PENDING, TaskState.SHUTDOWN, ""), Mark.STOPPED),
        (task(TaskState.COMPLETE), Mark.COMPLETED),
        (task(TaskState.FAILED, TaskState.SHUTDOWN), Mark.FAILED),
        (task(TaskState.REJECTED), Mark.FAILED),
        (task(TaskState.ORPHANED), Mark.LOST),
        (task(TaskState.SHUTDOWN, TaskState.SHUTDOWN), Mark.STOPPED),
    ],
)
def test_each_state_has_a_mark(seen: Task, mark: Mark) -> None:
    assert mark_of(seen) is mark


def test_a_failure_is_one_once() -> None:
    running, gone = task(TaskState.RUNNING), task(TaskState.FAILED)
    assert failed(running, gone)
    assert failed(None, task(TaskState.REJECTED))
    assert not failed(gone, gone)
    assert not failed(running, task(TaskState.COMPLETE))


def test_a_completion_is_one_once() -> None:
    done = task(TaskState.COMPLETE)
    assert completed(task(TaskState.RUNNING), done)
    assert not completed(done, done)

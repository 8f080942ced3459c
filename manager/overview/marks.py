"""What a task is shown as: seven marks in place of fourteen states and what is wanted of them."""

from __future__ import annotations

from collections.abc import Container
from enum import StrEnum

from common.model import Task, TaskState


class Mark(StrEnum):
    """A task's mark. STOPPED: it ended because it was told to, and is not shown. LOST: its node is down."""

    RUNNING = "running"
    STARTING = "starting"
    WAITING = "waiting"
    FAILED = "failed"
    STOPPING = "stopping"
    COMPLETED = "completed"
    LOST = "lost"
    STOPPED = "stopped"


_ENDED = {
    TaskState.COMPLETE: Mark.COMPLETED,
    TaskState.FAILED: Mark.FAILED,
    TaskState.REJECTED: Mark.FAILED,
    TaskState.ORPHANED: Mark.LOST,
}


def mark_of(task: Task) -> Mark:
    """Return a task's mark, whatever the state of its node."""
    state = task.status.state
    if state.terminal:
        return _ENDED.get(state, Mark.STOPPED)
    if task.desired_state > TaskState.RUNNING:
        return Mark.STOPPING if task.placed else Mark.STOPPED
    if state is TaskState.RUNNING:
        return Mark.RUNNING
    return Mark.STARTING if task.placed else Mark.WAITING


PLACED = frozenset({Mark.RUNNING, Mark.STARTING, Mark.STOPPING})


def mark_with(task: Task, down: Container[str]) -> Mark:
    """Return a task's mark: what was placed on one of the nodes that are `down`, by their ids, is lost."""
    mark = mark_of(task)
    return Mark.LOST if mark in PLACED and task.node_id in down else mark


def failed(old: Task | None, new: Task) -> bool:
    """Whether a change of a task is its failure."""
    return new.status.state in FAILURES and (old is None or old.status.state not in FAILURES)


def completed(old: Task | None, new: Task) -> bool:
    """Whether a change of a task is its completion."""
    return new.status.state is TaskState.COMPLETE and (old is None or old.status.state is not TaskState.COMPLETE)


FAILURES = (TaskState.FAILED, TaskState.REJECTED)

"""How a worker's report enters a task, and the rules that no change of a task may break.

An observed state only increases; a task's node, once it has one, never changes; a desired state never decreases
(swarmkit `design/task_model.md`). Breaking a rule is a bug; the error describes both states of the task.
"""

from __future__ import annotations

import msgspec

from common.clock import rfc3339
from common.model import Task, TaskState, TaskStatus
from common.model.task import RestartRecord


class InvalidTransition(Exception):
    """A bug: a forbidden change of a task. The message describes both states."""


def observe(task: Task, status: TaskStatus, now: float) -> Task | None:
    """Return `task` with its worker's report, or None when the report is older than the known state.

    A report of the same state may be new in other fields (addresses, ports, a message). `now` is the manager's clock:
    how long tasks run is never measured with a worker's. The manager's reason for stopping a task stays.
    """
    if status.state < task.status.state or status == task.status:
        return None
    if task.desired_state > TaskState.RUNNING and task.status.err and not status.err:
        status = msgspec.structs.replace(status, err=task.status.err)
    restart, renewal = task.restart, task.renewal
    if renewal is not None and not renewal.taken_at and status.renewed == task.spec_version:
        renewal = msgspec.structs.replace(renewal, taken_at=now)
    if status.state is TaskState.RUNNING and not restart.running_since:
        restart = msgspec.structs.replace(restart, running_since=now)
    return msgspec.structs.replace(task, status=status, restart=restart, renewal=renewal)


def check(old: Task, new: Task) -> None:
    """Refuse a forbidden change.

    Raises:
        InvalidTransition: names the rule, and describes the old and the new task.

    """
    if new.status.state < old.status.state:
        raise _broken("its observed state would move backwards", old, new)
    if old.node_id and new.node_id != old.node_id:
        raise _broken("it would move to another node", old, new)
    if new.desired_state < old.desired_state:
        raise _broken("its desired state would move backwards", old, new)
    if (new.service_id, new.slot) != (old.service_id, old.slot):
        raise _broken("it would change its slot", old, new)


def describe(task: Task) -> str:
    """Describe a task in one line: its name, node, desired and observed state."""
    status = task.status
    parts = [
        f"task {task.id} ({task.service_name or task.service_id}.{task.slot or task.node_id})",
        f"made {rfc3339(task.created_at)} from spec {task.spec_version}",
        f"on node {task.node_id}" if task.node_id else "on no node",
        f"wanted {task.desired_state.name}",
        f"seen {status.state.name} at {rfc3339(status.timestamp)}",
    ]
    if status.message or status.err:
        parts.append(": ".join(filter(None, (status.message, status.err))))
    if task.restart != RestartRecord():
        parts.append(f"restart {task.restart}")
    return ", ".join(parts)


def _broken(rule: str, old: Task, new: Task) -> InvalidTransition:
    return InvalidTransition(f"task {old.id}: {rule}\n  was: {describe(old)}\n  now: {describe(new)}")

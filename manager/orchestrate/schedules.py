"""Scheduled jobs: each due time begins one execution, or is passed over; what was decided last is in the store.

A due time that was missed, as the manager was away, is made up for if its start deadline allows; of several the last.
"""

from __future__ import annotations

import msgspec

from common.model import TaskState
from common.model.service import ScheduleStatus
from manager.orchestrate.case import Case
from manager.state import cron, executions, extensions
from manager.state.extensions import Extensions


def fire(case: Case) -> bool:
    """Begin an execution that is due; return whether the job has any to be looked after."""
    said = extensions.of(case.service)
    if not said.schedule:
        return True
    status = case.service.schedule_status or ScheduleStatus(last_at=case.now)
    due = cron.latest(said.schedule, said.schedule_timezone, status.last_at, case.now)
    upcoming = cron.following(said.schedule, said.schedule_timezone, case.now)
    if due is not None:
        _begin(case, said, due)
        status = ScheduleStatus(last_at=due)
    status = msgspec.structs.replace(status, next_at=upcoming)
    if status != case.service.schedule_status:
        case.update(msgspec.structs.replace(case.service, schedule_status=status))
    case.wake(upcoming)
    job = case.service.job_status
    return job is not None and job.last_execution > 0


def _begin(case: Case, said: Extensions, due: float) -> None:
    """Begin another iteration, unless it is too late or the one before is not through and may not be replaced."""
    late = case.now - due
    if said.schedule_deadline and late > said.schedule_deadline:
        case.reason(f"a scheduled execution is passed over: it is {late:.0f} s late")
        return
    if said.schedule_concurrency == "forbid" and _unfinished(case):
        case.reason("a scheduled execution is passed over: the one before is not through")
        return
    if len(executions.beside(case.service)) >= executions.MOST_BESIDE:
        case.reason(f"a scheduled execution is passed over: {executions.MOST_BESIDE} before it are not through")
        return
    status = executions.begun(case.service, case.now)
    case.update(msgspec.structs.replace(case.service, job_status=status))
    case.iteration = status.job_iteration
    case.reason(f"scheduled execution {status.job_iteration.index}")


def _unfinished(case: Case) -> bool:
    status = case.service.job_status
    if status is None or not status.last_execution:
        return False
    tasks = [task for task in case.view.tasks.of_service(case.service.id) if task.job_iteration == case.iteration]
    if any(task.live for task in tasks):
        return True
    job = case.service.spec.mode.replicated_job
    begun = {task.slot for task in tasks if task.desired_state < TaskState.REMOVE}
    return job is not None and len(begun) < job.total

"""Executions of jobs: each is an iteration of the service, and which of them go on is in its job status. Pure.

An execution takes the place of the one before it, but for a scheduled job whose executions may run beside each other
(`swarm.x.schedule-concurrency=allow`): there the earlier ones go on until they are through.
"""

from __future__ import annotations

import msgspec

from common.model import Service
from common.model.meta import Version
from common.model.service import JobStatus, ScheduleStatus
from common.spec import extensions
from manager.domain import revisions

# Executions beside the present one: a job that never ends must not fill the cluster with itself.
MOST_BESIDE = 100


def first_execution(service: Service, now: float) -> Service:
    """Return a new service with its first execution begun if it is a job."""
    if not service.spec.mode.is_job:
        return service
    if extensions.of(service).schedule:  # its first is when it is due
        return msgspec.structs.replace(service, job_status=JobStatus(), schedule_status=ScheduleStatus(last_at=now))
    return msgspec.structs.replace(service, job_status=JobStatus(last_execution=now))


def restart_schedule(old: Service, changed: Service, now: float) -> Service:
    """Return a job with its schedule begun anew if that was changed: the new one has missed nothing before."""
    before, after = extensions.of(old), extensions.of(changed)
    if (before.schedule, before.schedule_timezone) == (after.schedule, after.schedule_timezone):
        return changed
    status = ScheduleStatus(last_at=now) if after.schedule else None
    return msgspec.structs.replace(changed, schedule_status=status)


def begun(service: Service, now: float) -> JobStatus:
    """Return a job's status with another execution begun, the first or one after those it had."""
    last = service.job_status or JobStatus()
    if not last.last_execution:
        return JobStatus(job_iteration=last.job_iteration, last_execution=now)
    index = last.job_iteration.index
    beside = (*last.beside, index) if side_by_side(service) else ()
    return JobStatus(job_iteration=Version(index=index + 1), last_execution=now, beside=beside)


def next_execution(old: Service, changed: Service, now: float) -> Service:
    """Return a job whose tasks are to be made otherwise, or by force anew, with another execution begun.

    Not where only its secrets and configs change, and are to be changed in the tasks that run.
    """
    if not changed.spec.mode.is_job:
        return changed
    here, there = old.spec.task_template, changed.spec.task_template
    if extensions.of(changed).on_rotate != "restart" and revisions.only_files_differ(here, there):
        return changed
    forced = old.spec.task_template.force_update != changed.spec.task_template.force_update
    if extensions.of(changed).schedule and not forced:
        return changed
    return msgspec.structs.replace(changed, job_status=begun(changed, now))


def side_by_side(service: Service) -> bool:
    """Whether an execution leaves alone those before it."""
    return extensions.of(service).schedule_concurrency == "allow"


def beside(service: Service) -> tuple[int, ...]:
    """Return the iterations of the earlier executions that go on, the oldest first."""
    status = service.job_status
    return status.beside if status is not None and side_by_side(service) else ()


def under_way(service: Service) -> frozenset[int]:
    """Return the iterations whose tasks are looked after: the present one and those beside it."""
    status = service.job_status
    return frozenset(() if status is None else (*beside(service), status.job_iteration.index))

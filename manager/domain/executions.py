"""Executions of jobs: each is an iteration of its service, and the job's status says which of them go on. Pure.

An execution replaces the one before it, but for a scheduled job whose executions may run beside each other
(`swarm.x.schedule-concurrency=allow`): there the earlier ones go on until they have ended.
"""

from __future__ import annotations

import msgspec

from common.model import Service
from common.model.naming import Version
from common.model.service import JobStatus, ScheduleStatus
from common.spec import extensions
from manager.domain.revisions import only_files_differ

# Executions beside the present one: a job that never ends must not fill the cluster.
MOST_BESIDE = 100


def first_execution(service: Service, now: float) -> Service:
    """Return a new service with its first execution begun if it is a job."""
    if not service.spec.mode.is_job:
        return service
    if extensions.of(service).schedule:  # its first is when it is due
        return msgspec.structs.replace(service, job_status=JobStatus(), schedule_status=ScheduleStatus(last_at=now))
    return msgspec.structs.replace(service, job_status=JobStatus(last_execution=now))


def restart_schedule(old: Service, changed: Service, now: float) -> Service:
    """Return a job with a fresh schedule status if its schedule was changed: a new one has missed nothing."""
    before, after = extensions.of(old), extensions.of(changed)
    if (before.schedule, before.schedule_timezone) == (after.schedule, after.schedule_timezone):
        return changed
    status = ScheduleStatus(last_at=now) if after.schedule else None
    return msgspec.structs.replace(changed, schedule_status=status)


def next_job_status(service: Service, now: float) -> JobStatus:
    """Return a job's status with another execution: its first, or the next one."""
    last = service.job_status or JobStatus()
    if not last.last_execution:
        return JobStatus(job_iteration=last.job_iteration, last_execution=now)
    index = last.job_iteration.index
    earlier_executions = (*last.beside, index) if side_by_side(service) else ()
    return JobStatus(job_iteration=Version(index=index + 1), last_execution=now, beside=earlier_executions)


def next_execution(old: Service, changed: Service, now: float) -> Service:
    """Return a job with another execution if its tasks change, or if that is forced.

    Not if only its secrets and configs change, and running tasks get those.
    """
    if not changed.spec.mode.is_job:
        return changed
    here, there = old.spec.task_template, changed.spec.task_template
    if extensions.of(changed).on_rotate != "restart" and only_files_differ(here, there):
        return changed
    forced = old.spec.task_template.force_update != changed.spec.task_template.force_update
    if extensions.of(changed).schedule and not forced:
        return changed
    return msgspec.structs.replace(changed, job_status=next_job_status(changed, now))


def side_by_side(service: Service) -> bool:
    """Whether a new execution lets earlier ones go on."""
    return extensions.of(service).schedule_concurrency == "allow"


def earlier_executions(service: Service) -> tuple[int, ...]:
    """Return the iterations of the earlier executions that go on, the oldest first."""
    status = service.job_status
    return status.beside if status is not None and side_by_side(service) else ()


def executions_under_way(service: Service) -> frozenset[int]:
    """Return the iterations whose tasks are looked after: the present one and those beside it."""
    status = service.job_status
    return frozenset(() if status is None else (*earlier_executions(service), status.job_iteration.index))

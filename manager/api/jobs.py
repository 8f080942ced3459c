"""Executions of jobs: each is an iteration, told by the service's job status (swarmkit's way). Pure."""

from __future__ import annotations

import msgspec

from common.model import Service
from common.model.service import JobStatus, ScheduleStatus, ServiceMode
from manager.state import executions, extensions


def is_job(mode: ServiceMode) -> bool:
    return mode.replicated_job is not None or mode.global_job is not None


def first_execution(service: Service, now: float) -> Service:
    """Return a new service with its first execution begun if it is a job."""
    if not is_job(service.spec.mode):
        return service
    if extensions.of(service).schedule:  # its first is when it is due
        return msgspec.structs.replace(service, job_status=JobStatus(), schedule_status=ScheduleStatus(last_at=now))
    return msgspec.structs.replace(service, job_status=JobStatus(last_execution=now))


def next_execution(old: Service, changed: Service, now: float) -> Service:
    """Return a job whose tasks are to be made otherwise, or by force anew, with another execution begun."""
    if not is_job(changed.spec.mode):
        return changed
    forced = old.spec.task_template.force_update != changed.spec.task_template.force_update
    if extensions.of(changed).schedule and not forced:
        return changed
    return msgspec.structs.replace(changed, job_status=executions.begun(changed, now))


def rescheduled(old: Service, changed: Service, now: float) -> Service:
    """Return a job with its schedule begun anew if that was changed: the new one has missed nothing before."""
    before, after = extensions.of(old), extensions.of(changed)
    if (before.schedule, before.schedule_timezone) == (after.schedule, after.schedule_timezone):
        return changed
    status = ScheduleStatus(last_at=now) if after.schedule else None
    return msgspec.structs.replace(changed, schedule_status=status)

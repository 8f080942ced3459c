"""Executions of jobs: each is an iteration, told by the service's job status (swarmkit's way). Pure."""

from __future__ import annotations

import msgspec

from common.model import Service
from common.model.service import JobStatus, ScheduleStatus
from manager.state import extensions
from manager.state.executions import is_job


def first_execution(service: Service, now: float) -> Service:
    """Return a new service with its first execution begun if it is a job."""
    if not is_job(service.spec.mode):
        return service
    if extensions.of(service).schedule:  # its first is when it is due
        return msgspec.structs.replace(service, job_status=JobStatus(), schedule_status=ScheduleStatus(last_at=now))
    return msgspec.structs.replace(service, job_status=JobStatus(last_execution=now))


def rescheduled(old: Service, changed: Service, now: float) -> Service:
    """Return a job with its schedule begun anew if that was changed: the new one has missed nothing before."""
    before, after = extensions.of(old), extensions.of(changed)
    if (before.schedule, before.schedule_timezone) == (after.schedule, after.schedule_timezone):
        return changed
    status = ScheduleStatus(last_at=now) if after.schedule else None
    return msgspec.structs.replace(changed, schedule_status=status)

"""Executions of jobs: each is an iteration, told by the service's job status (swarmkit `controlapi/service.go`). Pure."""

from __future__ import annotations

import msgspec

from common.model import Service
from common.model.meta import Version
from common.model.service import JobStatus, ServiceMode


def is_job(mode: ServiceMode) -> bool:
    return mode.replicated_job is not None or mode.global_job is not None


def first_execution(service: Service, now: float) -> Service:
    """Return a new service with its first execution begun if it is a job."""
    if not is_job(service.spec.mode):
        return service
    return msgspec.structs.replace(service, job_status=JobStatus(last_execution=now))


def next_execution(old: Service, changed: Service, now: float) -> Service:
    """Return a job whose tasks are to be made otherwise, or by force anew, with another execution begun."""
    if not is_job(changed.spec.mode):
        return changed
    last = old.job_status.job_iteration.index if old.job_status is not None else 0
    status = JobStatus(job_iteration=Version(index=last + 1), last_execution=now)
    return msgspec.structs.replace(changed, job_status=status)

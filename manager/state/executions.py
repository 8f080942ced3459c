"""Executions of jobs: each is an iteration of the service, and which of them go on is in its job status. Pure.

An execution takes the place of the one before it, but for a scheduled job whose executions may run beside each other
(`swarm.x.schedule-concurrency=allow`): there the earlier ones go on until they are through.
"""

from __future__ import annotations

from common.model import Service
from common.model.meta import Version
from common.model.service import JobStatus
from manager.state import extensions

# Executions beside the present one: a job that never ends must not fill the cluster with itself.
MOST_BESIDE = 100


def begun(service: Service, now: float) -> JobStatus:
    """Return a job's status with another execution begun, the first or one after those it had."""
    last = service.job_status or JobStatus()
    if not last.last_execution:
        return JobStatus(job_iteration=last.job_iteration, last_execution=now)
    index = last.job_iteration.index
    beside = (*last.beside, index) if side_by_side(service) else ()
    return JobStatus(job_iteration=Version(index=index + 1), last_execution=now, beside=beside)


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

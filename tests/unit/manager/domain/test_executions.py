"""When a job is executed again, and which executions go on beside the newest."""

from msgspec.structs import replace

from common.model import Service
from common.model.naming import Version
from common.model.service import (
    EXTENSION_PREFIX,
    JobStatus,
    ReplicatedJob,
    ScheduleStatus,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from manager.domain.executions import (
    earlier_executions,
    executions_under_way,
    first_execution,
    next_execution,
    next_job_status,
    restart_schedule,
)
from tests.fakes.world import template

NOW = 1000.0
JOB = ServiceMode(replicated_job=ReplicatedJob())


def job(spec: TaskSpec | None = None, status: JobStatus | None = None, **labels: str) -> Service:
    named = {EXTENSION_PREFIX + name.replace("_", "-"): value for name, value in labels.items()}
    body = ServiceSpec(name="job", labels=named, mode=JOB, task_template=spec or template())
    return Service(id="j", spec=body, job_status=status)


def test_a_job_begins_at_once_unless_it_has_a_schedule() -> None:
    assert first_execution(job(), NOW).job_status == JobStatus(last_execution=NOW)
    scheduled = first_execution(job(schedule="0 * * * *"), NOW)
    assert scheduled.job_status == JobStatus()
    assert scheduled.schedule_status == ScheduleStatus(last_at=NOW)
    service = Service(id="s", spec=ServiceSpec(name="web"))
    assert first_execution(service, NOW) is service


def test_the_first_execution_has_number_0_and_the_next_one_more() -> None:
    first = next_job_status(job(), NOW)
    assert first == JobStatus(last_execution=NOW)
    assert next_job_status(job(status=first), NOW + 1) == JobStatus(
        job_iteration=Version(index=1), last_execution=NOW + 1
    )


def test_executions_go_on_beside_the_next_only_where_they_may() -> None:
    status = JobStatus(job_iteration=Version(index=4), last_execution=NOW, beside=(2,))
    allowed = job(status=status, schedule="0 * * * *", schedule_concurrency="allow")
    assert next_job_status(allowed, NOW).beside == (2, 4)
    assert executions_under_way(allowed) == {2, 4}
    forbidden = job(status=status, schedule="0 * * * *")
    assert next_job_status(forbidden, NOW).beside == ()
    assert (earlier_executions(forbidden), executions_under_way(forbidden)) == ((), {4})
    assert executions_under_way(job()) == frozenset()


def test_a_changed_job_is_executed_again() -> None:
    old = job(status=JobStatus(last_execution=NOW))
    changed = replace(old, spec=job(template("web:2")).spec)
    after = next_execution(old, changed, NOW + 5).job_status
    assert after == JobStatus(job_iteration=Version(index=1), last_execution=NOW + 5)


def test_a_scheduled_job_waits_for_its_time_unless_it_is_forced() -> None:
    old = job(status=JobStatus(last_execution=NOW), schedule="0 * * * *")
    changed = replace(old, spec=replace(old.spec, task_template=template("web:2")))
    assert next_execution(old, changed, NOW) is changed
    forced = replace(old, spec=replace(old.spec, task_template=template(force_update=1)))
    assert next_execution(old, forced, NOW + 5).job_status != old.job_status


def test_another_schedule_has_missed_nothing_before() -> None:
    old = job(schedule="0 * * * *")
    hourly = replace(old, schedule_status=ScheduleStatus(last_at=1.0))
    daily = replace(hourly, spec=job(schedule="0 0 * * *").spec)
    assert restart_schedule(hourly, daily, NOW).schedule_status == ScheduleStatus(last_at=NOW)
    assert restart_schedule(hourly, hourly, NOW) is hourly
    assert restart_schedule(hourly, replace(hourly, spec=job().spec), NOW).schedule_status is None

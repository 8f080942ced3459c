"""What `service inspect --pretty` says beyond docker."""

from common.model import Service
from common.model.service import JobStatus, ReplicatedJob, ScheduleStatus, ServiceMode, ServiceSpec
from manager.cli.service.page import page

SPEC = ServiceSpec(
    name="nightly",
    labels={"swarm.x.schedule": "@daily", "swarm.x.schedule-timezone": "Europe/Berlin"},
    mode=ServiceMode(replicated_job=ReplicatedJob()),
)


def shown(last: float) -> list[str]:
    service = Service(
        id="s1",
        spec=SPEC,
        job_status=JobStatus(last_execution=last),
        schedule_status=ScheduleStatus(last_at=1_700_000_000.0, next_at=1_700_086_400.0),
    )
    lines = page(service, {}, 1_700_000_500.0).splitlines()
    return [line.replace("\t", " ").strip() for line in lines if "un:" in line or "When:" in line]


def test_a_scheduled_job_says_when_it_ran_last_and_runs_next() -> None:
    assert shown(1_700_000_000.0) == [
        "When:  @daily (Europe/Berlin)",
        "Last run: 2023-11-14T22:13:20Z",
        "Next run: 2023-11-15T22:13:20Z",
    ]
    assert shown(0.0)[1] == "Last run: none yet"

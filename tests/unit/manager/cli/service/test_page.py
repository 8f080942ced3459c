"""What `service inspect --pretty` says beyond docker."""

from common.model import Service
from common.model.service import GlobalJob, JobStatus, ReplicatedJob, ScheduleStatus, ServiceMode, ServiceSpec
from common.model.update import Action, Requested, UpdateProgress, UpdateState, UpdateStatus
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


def test_a_job_says_that_it_is_one() -> None:
    def mode(mode: ServiceMode) -> list[str]:
        lines = page(Service(id="s", spec=ServiceSpec(name="job", mode=mode)), {}, 60.0).splitlines()
        return lines[
            lines.index(next(line for line in lines if line.startswith("Service Mode"))) : lines.index("Placement:")
        ]

    replicated = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=2, total_completions=5))
    assert mode(replicated) == ["Service Mode:\tReplicated Job", " Total Completions:\t5", " Max Concurrent:\t2"]
    assert mode(ServiceMode(global_job=GlobalJob())) == ["Service Mode:\tGlobal Job"]


def update_lines(status: UpdateStatus | None) -> list[str]:
    shown = page(Service(id="s", spec=ServiceSpec(name="web"), update_status=status), {}, 60.0).split("\n")
    begin = shown.index("UpdateStatus:") + 1 if "UpdateStatus:" in shown else len(shown)
    return shown[begin : shown.index("Placement:")] if begin < len(shown) else []


def test_an_update_says_how_far_it_is() -> None:
    progress = UpdateProgress(done=2, of=5, batch=1, monitor_until=90.0)
    status = UpdateStatus(
        state=UpdateState.ROLLBACK_STARTED,
        message="m",
        reason=Requested(action=Action.ROLLBACK, by="ann"),
        returns_to=3,
        progress=progress,
    )
    assert update_lines(status) == [
        " State:\t\trollback_started",
        " Message:\tm",
        " Requested by:\tann",
        " Returns to:\trevision 3",
        " Progress:\t2 of 5 tasks, 1 being changed",
        " Monitored:\tuntil 1970-01-01T00:01:30Z",
    ]


def test_one_that_has_ended_is_as_docker_shows_it() -> None:
    status = UpdateStatus(state=UpdateState.COMPLETED, completed_at=30.0, message="m")
    assert update_lines(status) == [
        " State:\t\tcompleted",
        " Completed:\t30 seconds ago",
        " Message:\tm",
    ]
    assert update_lines(None) == []

"""Services in a table, in docker's words."""

import pytest

from common.model import Service
from common.model.service import (
    GlobalJob,
    Placement,
    PortConfig,
    Replicated,
    ReplicatedJob,
    ScheduleStatus,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from common.model.update import Awaited, AwaitsServices, Condition, UpdateState, UpdateStatus
from manager.cli.service.rows import mode_name, ports, replicas, rows

COUNTS = {"RunningTasks": 2, "DesiredTasks": 3, "CompletedTasks": 4}


def service(mode: ServiceMode | None = None, template: TaskSpec | None = None, **other: object) -> Service:
    replicated = ServiceMode(replicated=Replicated(replicas=3))
    spec = ServiceSpec(name="web", mode=mode or replicated, task_template=template or TaskSpec())
    return Service(id="s", spec=spec, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (service(), "2/3"),
        (service(template=TaskSpec(placement=Placement(max_replicas=1))), "2/3 (max 1 per node)"),
        (service(ServiceMode(replicated_job=ReplicatedJob(total_completions=5))), "2/3 (4/5 completed)"),
        (service(ServiceMode(global_job=GlobalJob())), "2/3 (4/7 completed)"),
        (
            service(ServiceMode(global_job=GlobalJob()), schedule_status=ScheduleStatus(next_at=1_700_000_000.0)),
            "2/3 (4/7 completed; next run 2023-11-14T22:13:20Z)",
        ),
    ],
)
def test_replicas_say_what_there_is_to_say(shown: Service, text: str) -> None:
    assert replicas(shown, COUNTS) == text


def test_a_service_that_waits_for_others_says_so() -> None:
    remark = AwaitsServices(services=(Awaited(service="db", condition=Condition.HEALTHY),))
    status = UpdateStatus(state=UpdateState.UPDATING, remark=remark, message="waits for db")
    assert replicas(service(update_status=status), COUNTS) == "2/3 (waits for db)"


def test_jobs_have_two_words() -> None:
    assert mode_name(service(ServiceMode(replicated_job=ReplicatedJob()))) == "replicated job"


def port(published: int, target: int, mode: str = "ingress", protocol: str = "tcp") -> PortConfig:
    return PortConfig(protocol=protocol, target_port=target, published_port=published, publish_mode=mode)


def test_neighbouring_ports_are_drawn_together() -> None:
    assert ports([port(81, 81), port(80, 80), port(82, 82)]) == "*:80-82->80-82/tcp"
    assert ports([port(8080, 80), port(53, 53, protocol="udp")]) == "*:53->53/udp, *:8080->80/tcp"
    assert ports([port(80, 80, "host")]) == ""


def test_rows_are_in_natural_order() -> None:
    def entry(name: str) -> dict[str, object]:
        return {"ID": name, "Spec": {"Name": name, "Mode": {"Replicated": {"Replicas": 1}}, "TaskTemplate": {}}}

    assert [row["Name"] for row in rows([entry("web10"), entry("web9")])] == ["web9", "web10"]

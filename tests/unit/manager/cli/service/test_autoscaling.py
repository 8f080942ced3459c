"""Autoscaled services on the command line: their file, a deploy of it again, and how they are shown."""

from __future__ import annotations

import pytest

from common.model import Service
from common.model.container import ContainerSpec
from common.model.service import AutoscaleStatus, Replicated, ServiceMode, ServiceSpec, TaskSpec
from common.spec import autoscale
from manager.cli.compose import ComposeFile, convert, load
from manager.cli.service.page import page
from manager.cli.service.rows import replicas
from manager.cli.stack.deploy import carry_over
from tests.fakes.world import replace

POLICY = "min=2,max=6,cpu=70%"
FILE = """
services:
  web:
    image: web:1
    x-swarm-autoscale: {min: 2, max: 6, cpu: 70%, metric: jobs, port: 9100, target: 2.5, down: 10m}
"""


def spec(count: int | None, policy: str = POLICY) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        labels={autoscale.LABEL: policy} if policy else {},
        mode=ServiceMode(replicated=Replicated(replicas=count)),
        task_template=TaskSpec(container_spec=ContainerSpec(image="web:1")),
    )


def read(path: str) -> bytes:
    raise FileNotFoundError(path)


def test_the_files_mapping_is_the_label() -> None:
    config = load([ComposeFile("f", FILE)], {}, read, "/project")
    labels = convert(config, "shop", read).services["web"].labels
    metric = autoscale.Metric("jobs", 9100, "/metrics", 2.5)
    assert autoscale.parse(labels[autoscale.LABEL]) == autoscale.Policy(2, 6, cpu=0.7, metric=metric, down=600.0)


@pytest.mark.parametrize(
    ("present", "wanted", "sent"),
    [
        (spec(5), spec(3), 5),
        (spec(5), spec(None), 5),
        (spec(5), spec(3, "min=1,max=4,cpu=70%"), 4),
        (spec(5, policy=""), spec(3), 3),
        (spec(5, policy=""), spec(None), 5),
        (spec(5), spec(3, policy=""), 3),
        (spec(5, policy=""), spec(3, policy=""), 3),
    ],
)
def test_a_deploy_keeps_the_number_of_an_autoscaled_service(
    present: ServiceSpec, wanted: ServiceSpec, sent: int
) -> None:
    mode = carry_over(present, wanted, "never")[0].mode.replicated
    assert mode is not None
    assert mode.replicas == sent


def test_the_measurements_and_the_last_change_are_shown() -> None:
    status = AutoscaleStatus(
        scaled_at=880.0, previous=3, replicas=5, message="scaled 3 → 5: cpu at 112% (target 70%)", reading="cpu at 41%"
    )
    service = Service(id="s", spec=spec(5), autoscale_status=status)
    assert replicas(service, {"RunningTasks": 4, "DesiredTasks": 5}) == "4/5 (cpu at 41%)"
    lines = page(service, {}, 1000.0).splitlines()
    at = lines.index("Autoscaling:")
    assert lines[at + 1 : at + 4] == [
        " Replicas:\t2 to 6",
        " Now:\t\tcpu at 41%",
        " Last:\t\tscaled 3 → 5: cpu at 112% (target 70%), 2 minutes ago",
    ]
    assert "Autoscaling:" not in page(replace(service, spec=spec(5, policy="")), {}, 1000.0)

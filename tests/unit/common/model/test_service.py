"""What follows from a service's specification: its mode, its ports, its networks, whether it ends."""

import pytest

from common.model.service import (
    EndpointSpec,
    Global,
    GlobalJob,
    NetworkAttachmentConfig,
    PortConfig,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)


@pytest.mark.parametrize(
    ("mode", "name", "job", "everywhere"),
    [
        (ServiceMode(replicated=Replicated()), "replicated", False, False),
        (ServiceMode(global_=Global()), "global", False, True),
        (ServiceMode(replicated_job=ReplicatedJob()), "replicated-job", True, False),
        (ServiceMode(global_job=GlobalJob()), "global-job", True, True),
        (ServiceMode(), "", False, False),
    ],
)
def test_each_mode_has_dockers_name(mode: ServiceMode, name: str, *, job: bool, everywhere: bool) -> None:
    assert (mode.name, mode.is_job, mode.is_global) == (name, job, everywhere)


def test_one_replica_goes_without_saying() -> None:
    assert ServiceMode(replicated=Replicated()).replicas == 1
    assert ServiceMode().replicas == 1
    assert ServiceMode(replicated=Replicated(replicas=0)).replicas == 0


def test_a_job_completes_as_often_as_it_may_run_at_once() -> None:
    assert (ReplicatedJob().at_once, ReplicatedJob().total) == (1, 1)
    assert ReplicatedJob(max_concurrent=3).total == 3
    assert ReplicatedJob(max_concurrent=3, total_completions=9).total == 9
    assert ReplicatedJob(max_concurrent=0).at_once == 0


def test_only_ingress_ports_are_in_the_mesh() -> None:
    host, mesh = PortConfig(publish_mode="host"), PortConfig(publish_mode="ingress")
    assert not ServiceSpec().in_mesh
    assert not ServiceSpec(endpoint_spec=EndpointSpec(ports=(host,))).in_mesh
    assert ServiceSpec(endpoint_spec=EndpointSpec(ports=(host, mesh))).in_mesh


def test_the_tasks_networks_go_before_the_older_list() -> None:
    old, new = NetworkAttachmentConfig(target="old"), NetworkAttachmentConfig(target="new")
    assert ServiceSpec(networks=(old,)).attachments == (old,)
    assert ServiceSpec(networks=(old,), task_template=TaskSpec(networks=(new,))).attachments == (new,)


@pytest.mark.parametrize(("condition", "ends"), [("none", True), ("on-failure", True), ("any", False)])
def test_tasks_that_are_not_restarted_end(condition: str, *, ends: bool) -> None:
    spec = ServiceSpec(task_template=TaskSpec(restart_policy=RestartPolicy(condition=condition)))
    assert spec.ends is ends
    assert not ServiceSpec().ends
    assert ServiceSpec(mode=ServiceMode(global_job=GlobalJob())).ends

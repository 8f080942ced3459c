"""The `deploy` section of a service."""

import pytest

from common.model.service import (
    Global,
    GlobalJob,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    UpdateConfig,
)
from tests.unit.manager.cli.compose.stacks import refusal, service


@pytest.mark.parametrize(
    ("deploy", "mode"),
    [
        ("{}", ServiceMode(replicated=Replicated())),
        ("{replicas: 0}", ServiceMode(replicated=Replicated(replicas=0))),
        ("{mode: global}", ServiceMode(global_=Global())),
        (
            "{mode: replicated-job, replicas: 3}",
            ServiceMode(replicated_job=ReplicatedJob(max_concurrent=3, total_completions=3)),
        ),
        ("{mode: global-job}", ServiceMode(global_job=GlobalJob())),
    ],
)
def test_modes(deploy: str, mode: ServiceMode) -> None:
    assert service(f"deploy: {deploy}").mode == mode


def test_a_global_service_has_no_replicas() -> None:
    message = refusal(lambda: service("deploy: {mode: global, replicas: 2}"))
    assert message == "f:4:28: services.web.deploy.replicas: replicas means nothing in global mode"


def test_no_limit_of_processes_may_be_written_as_docker_takes_it() -> None:
    resources = service("deploy: {resources: {limits: {pids: -1}}}").task_template.resources
    assert resources is not None
    assert resources.limits is not None
    assert resources.limits.pids == -1


def test_a_limit_of_processes_fits_into_64_bits() -> None:
    message = refusal(lambda: service(f"deploy: {{resources: {{limits: {{pids: -{10**29}}}}}}}"))
    assert "pids: expected a whole number" in message


def test_resources_are_billionths_and_bytes() -> None:
    resources = service(
        "deploy: {resources: {limits: {cpus: '0.1', memory: 50M, pids: 9}, reservations: {cpus: '2',"
        " generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]}}}"
    ).task_template.resources
    assert resources is not None
    assert resources.limits is not None
    assert (resources.limits.nano_cpus, resources.limits.memory_bytes, resources.limits.pids) == (10**8, 50 * 2**20, 9)
    assert resources.reservations is not None
    assert (resources.reservations.nano_cpus, resources.reservations.memory_bytes) == (2 * 10**9, 0)
    discrete = resources.reservations.generic_resources[0].discrete_resource_spec
    assert discrete is not None
    assert (discrete.kind, discrete.value) == ("gpu", 2)


@pytest.mark.parametrize(
    ("lines", "policy"),
    [
        ("", None),
        ("deploy: {restart_policy: {}}", RestartPolicy()),
        (
            "deploy: {restart_policy: {condition: on-failure, delay: 5s, max_attempts: 0, window: 2m}}",
            RestartPolicy(condition="on-failure", delay=5 * 10**9, max_attempts=0, window=120 * 10**9),
        ),
        ("restart: always", RestartPolicy(condition="any")),
        ("restart: no", None),
        ("restart: on-failure:3", RestartPolicy(condition="on-failure", max_attempts=3)),
        ("restart: always\ndeploy: {restart_policy: {condition: none}}", RestartPolicy(condition="none")),
    ],
)
def test_restart_policies(lines: str, policy: RestartPolicy | None) -> None:
    assert service(lines).task_template.restart_policy == policy


def test_updates_take_the_engines_defaults_for_what_is_not_said() -> None:
    spec = service("deploy: {update_config: {parallelism: 0, delay: 1s}, rollback_config: {order: start-first}}")
    assert spec.update_config == UpdateConfig(parallelism=0, delay=10**9)
    assert spec.rollback_config == UpdateConfig(order="start-first")
    assert service().update_config is None

"""What is stored where a specification left something open."""

from common.model.container import ContainerSpec
from common.model.service import (
    EndpointSpec,
    Global,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from manager.domain.defaults import fill_defaults

OPEN = ServiceSpec(
    name="web",
    task_template=TaskSpec(
        container_spec=ContainerSpec(image="i"), restart_policy=RestartPolicy(condition="", max_attempts=None)
    ),
    update_config=UpdateConfig(failure_action="", monitor=0, order=""),
    endpoint_spec=EndpointSpec(mode=""),
)


def test_open_fields_are_set_as_the_engine_sets_them() -> None:
    filled = fill_defaults(OPEN)
    template = filled.task_template
    assert template.runtime == "container"
    assert template.container_spec == ContainerSpec(image="i", isolation="default")
    assert template.restart_policy is not None
    assert (template.restart_policy.condition, template.restart_policy.max_attempts) == ("any", 0)
    assert filled.mode == ServiceMode(replicated=Replicated(replicas=1))
    assert filled.update_config == UpdateConfig()
    assert filled.endpoint_spec == EndpointSpec()


def test_filling_twice_is_filling_once() -> None:
    assert fill_defaults(fill_defaults(OPEN)) == fill_defaults(OPEN)


def test_what_was_said_stays() -> None:
    container = ContainerSpec(image="i", isolation="process")
    spec = ServiceSpec(
        name="web",
        task_template=TaskSpec(container_spec=container, runtime="other"),
        mode=ServiceMode(replicated=Replicated(replicas=0)),
        rollback_config=UpdateConfig(order="start-first", monitor=1),
    )
    assert fill_defaults(spec) == spec


def test_what_nobody_configured_stays_open() -> None:
    filled = fill_defaults(ServiceSpec(name="web"))
    assert (filled.update_config, filled.endpoint_spec, filled.task_template.restart_policy) == (None, None, None)


def test_a_job_completes_as_often_as_it_runs_at_once() -> None:
    job = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=3))
    filled = fill_defaults(ServiceSpec(name="job", mode=job)).mode.replicated_job
    assert filled == ReplicatedJob(max_concurrent=3, total_completions=3)
    everywhere = ServiceMode(global_=Global())
    assert fill_defaults(ServiceSpec(name="g", mode=everywhere)).mode == everywhere

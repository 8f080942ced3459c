"""What is stored where a service's spec left something open, as the engine does. Pure.

Whatever the API shows of a spec must be stored so: a client that sends back what it read must change nothing, or else
scaling a service would restart its tasks.
"""

from __future__ import annotations

import msgspec

from common.model.container import ContainerSpec
from common.model.service import (
    EndpointSpec,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)

_UPDATE = UpdateConfig()


def filled(spec: ServiceSpec) -> ServiceSpec:
    """Return the spec with its open fields set. Doing it twice is doing it once."""
    return msgspec.structs.replace(
        spec,
        task_template=_template(spec.task_template),
        mode=_mode(spec.mode),
        update_config=_update(spec.update_config),
        rollback_config=_update(spec.rollback_config),
        endpoint_spec=_endpoint(spec.endpoint_spec),
    )


def _template(template: TaskSpec) -> TaskSpec:
    return msgspec.structs.replace(
        template,
        container_spec=_container(template.container_spec),
        restart_policy=_restart(template.restart_policy),
        runtime=template.runtime or "container",
    )


def _container(container: ContainerSpec | None) -> ContainerSpec | None:
    if container is None or container.isolation:
        return container
    return msgspec.structs.replace(container, isolation="default")


def _restart(policy: RestartPolicy | None) -> RestartPolicy | None:
    if policy is None:
        return None
    condition, attempts = policy.condition or "any", policy.max_attempts or 0
    return msgspec.structs.replace(policy, condition=condition, max_attempts=attempts)


def _mode(mode: ServiceMode) -> ServiceMode:
    if mode.replicated_job is not None:
        return ServiceMode(replicated_job=_job(mode.replicated_job))
    if mode.global_ is not None or mode.global_job is not None:
        return mode
    replicas = mode.replicated.replicas if mode.replicated is not None else None
    return ServiceMode(replicated=Replicated(replicas=1 if replicas is None else replicas))


def _job(job: ReplicatedJob) -> ReplicatedJob:
    """Fill a job's counts: one at a time, and as many in all as at a time."""
    most = 1 if job.max_concurrent is None else job.max_concurrent
    total = most if job.total_completions is None else job.total_completions
    return ReplicatedJob(max_concurrent=most, total_completions=total)


def _update(config: UpdateConfig | None) -> UpdateConfig | None:
    """Fill an update's configuration; a monitor of 0 means the default."""
    if config is None:
        return None
    return msgspec.structs.replace(
        config,
        failure_action=config.failure_action or _UPDATE.failure_action,
        monitor=config.monitor or _UPDATE.monitor,
        order=config.order or _UPDATE.order,
    )


def _endpoint(endpoint: EndpointSpec | None) -> EndpointSpec | None:
    if endpoint is None or endpoint.mode:
        return endpoint
    return msgspec.structs.replace(endpoint, mode=EndpointSpec().mode)

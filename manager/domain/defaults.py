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


def fill_defaults(spec: ServiceSpec) -> ServiceSpec:
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
    """Fill in the counts: one replica; of a job one at a time, and as many in all as at a time."""
    if (job := mode.replicated_job) is not None:
        return ServiceMode(replicated_job=ReplicatedJob(max_concurrent=job.at_once, total_completions=job.total))
    return mode if mode.is_global else ServiceMode(replicated=Replicated(replicas=mode.replicas))


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

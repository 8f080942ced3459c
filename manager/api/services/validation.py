"""What a service's spec must fulfil on its own, before anything is looked up. Pure; in the engine's words."""

from __future__ import annotations

import math
from collections import Counter
from ipaddress import ip_address

from common.errors import InvalidArgument
from common.model import Task
from common.model.service import (
    EndpointSpec,
    GenericResource,
    Limits,
    PortConfig,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from common.net.addressing import LOOPBACK6_AS_IPV4
from common.spec import autoscale, extensions
from common.spec.autoscale import LABEL
from common.spec.constraints import parse
from common.spec.slot_volumes import named_mounts, stopped_sources
from common.spec.task_templates import check_templates
from common.spec.volumes import snapshot_of
from common.text.quantities import NANO_CPUS
from manager.api.errors import Unimplemented, invalid
from manager.api.lookup import check_dns_name
from manager.api.services.container_validation import check_container, check_engine_options
from manager.domain.reservations import by_name

_RUNTIMES = ("", "container")
_CONDITIONS = ("", "none", "on-failure", "any")
# Of a rollback too, as in Docker, where files say so: it pauses then, as a rollback never rolls back.
_FAILURE_ACTIONS = ("", "pause", "continue", "rollback")
_ORDERS = ("", "stop-first", "start-first")
_ENDPOINT_MODES = ("", "vip", "dnsrr")
_PROTOCOLS = ("tcp", "udp", "sctp")
_PUBLISH_MODES = ("ingress", "host")
_MAX_PORT = 65535
_MAX_CONSTRAINT = 1024
# Each is looked at for every node, each time that a task is placed.
_MOST_CONSTRAINTS = 256
# Each is a level of the tree that the nodes are divided into.
_MOST_PREFERENCES = 16
# Of one service: as many as one worker may report on, and as clusters were measured with.
_MOST_TASKS = 100_000
# On which one port may be published by itself.
_MOST_ADDRESSES = 256

MIN_NANO_CPUS = 1_000_000
MIN_MEMORY_BYTES = 4 * 1024 * 1024
_RESERVATION = {
    "cpu": "TaskTemplate.Resources.Reservations.NanoCPUs (--reserve-cpu, deploy.resources.reservations.cpus)",
    "memory": "TaskTemplate.Resources.Reservations.MemoryBytes (--reserve-memory, …reservations.memory)",
}


def check_service(spec: ServiceSpec) -> None:
    """Refuse a spec that no service can have.

    Raises:
        EngineError, InvalidArgument: 400; the message names the field and what was expected.
        Unimplemented: 501; the spec asks for what this manager does not do.

    """
    _check_runtime(spec.task_template)
    _check_mode(spec.mode)
    _check_no_updates(spec)
    _check_update("UpdateConfig", spec.update_config)
    _check_update("RollbackConfig", spec.rollback_config)
    check_dns_name(spec.name)
    extensions.read(spec.labels)
    _check_restart(spec.task_template.restart_policy)
    check_resources(spec.task_template.resources)
    check_autoscaling(spec)
    _check_placement(spec.task_template)
    if spec.task_template.container_spec is not None:
        check_container(spec.task_template.container_spec)
        check_templates(spec.task_template.container_spec, spec.name, spec.labels)
        check_engine_options(spec)
        _check_snapshots(spec)
    _check_endpoint(spec.endpoint_spec)


def _check_runtime(template: TaskSpec) -> None:
    if template.runtime in {"plugin", "attachment"}:
        raise Unimplemented(f"TaskTemplate.Runtime {template.runtime!r} is not supported: use 'container'")
    if template.runtime not in _RUNTIMES:
        raise invalid("unsupported runtime")
    if template.container_spec is None:
        raise invalid("mismatched Runtime and *Spec fields")


def _check_mode(mode: ServiceMode) -> None:
    modes = [m for m in (mode.replicated, mode.global_, mode.replicated_job, mode.global_job) if m is not None]
    if len(modes) > 1:
        raise invalid("must specify only one service mode")
    if mode.replicated_job is not None:
        _check_job(mode.replicated_job)
    if mode.replicated is not None:
        _check_count("Replicated.Replicas", mode.replicated.replicas)


def _check_job(job: ReplicatedJob) -> None:
    _check_count("ReplicatedJob.MaxConcurrent", job.max_concurrent)
    _check_count("ReplicatedJob.TotalCompletions", job.total_completions)


def _check_count(name: str, count: int | None) -> None:
    if (count or 0) < 0:
        raise invalid(f"Mode.{name}: expected 0 or more, got {count}")
    if (count or 0) > _MOST_TASKS:
        raise invalid(f"Mode.{name}: expected at most {_MOST_TASKS} tasks of one service, got {count}")


def _check_snapshots(spec: ServiceSpec) -> None:
    """Refuse snapshots for which tasks stop where the manager, which makes these, cannot know of which volume."""
    slot = 0 if spec.mode.is_global else 1
    sample = Task(spec=spec.task_template, service_name=spec.name, labels=spec.labels, slot=slot)
    stopping = [mount.source for mount in named_mounts(sample.spec.container_spec) if snapshot_of(mount) == "stop"]
    if len(stopping) > len(stopped_sources(sample)):
        raise invalid(
            f"swarm.x.snapshot=stop of volume {stopping[0]}: expected a replicated service or job, and a volume's name "
            "without the node or the task in it; pause and live are possible everywhere"
        )


def _check_no_updates(spec: ServiceSpec) -> None:
    """Refuse an update configuration of a job, whose tasks run again instead, and half a canary."""
    for name, config in (("UpdateConfig", spec.update_config), ("RollbackConfig", spec.rollback_config)):
        if config is not None and spec.mode.is_job:
            raise invalid(f"{name}: not possible for a job: its tasks are not updated but run again")
    said = extensions.read(spec.labels)
    if said.canary and spec.mode.is_job:
        raise invalid("label swarm.x.canary: not possible for a job: its tasks are not updated but run again")
    if said.max_unavailable and spec.mode.is_job:
        raise invalid("label swarm.x.max-unavailable: not possible for a job: its tasks end by themselves")
    if said.schedule and not spec.mode.is_job:
        raise invalid("label swarm.x.schedule: expected a job (Mode ReplicatedJob or GlobalJob), which ends")
    if not said.schedule and any(label.startswith("swarm.x.schedule-") for label in spec.labels):
        raise invalid("label swarm.x.schedule: expected a cron expression, as other labels set details of the schedule")
    if said.canary_period and not said.canary:
        raise invalid("label swarm.x.canary-period: expected swarm.x.canary beside it, the number of tasks")


def _check_update(name: str, config: UpdateConfig | None) -> None:
    if config is None:
        return
    if config.failure_action not in _FAILURE_ACTIONS:
        raise invalid(f"unrecognized update failure action {config.failure_action}")
    if config.order not in _ORDERS:
        raise invalid(f"unrecognized update order {config.order}")
    if config.parallelism < 0:
        raise invalid(f"{name}.Parallelism: expected 0 (all at once) or more, got {config.parallelism}")
    if config.delay < 0:
        raise InvalidArgument("TaskSpec: update-delay cannot be negative")
    if config.monitor < 0:
        raise InvalidArgument("TaskSpec: update-monitor cannot be negative")
    if not 0 <= config.max_failure_ratio <= 1 or math.isnan(config.max_failure_ratio):
        raise InvalidArgument("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1")


def _check_restart(policy: RestartPolicy | None) -> None:
    if policy is None:
        return
    if policy.condition not in _CONDITIONS:
        raise invalid(f'invalid RestartCondition: "{policy.condition}"')
    if (policy.delay or 0) < 0:
        raise InvalidArgument("TaskSpec: restart-delay cannot be negative")
    if (policy.window or 0) < 0:
        raise InvalidArgument("TaskSpec: restart-window cannot be negative")
    if (policy.max_attempts or 0) < 0:
        raise invalid(f"RestartPolicy.MaxAttempts: expected 0 or more, got {policy.max_attempts}")


def _check_placement(template: TaskSpec) -> None:
    if template.placement is None:
        return
    for name, given, most in (
        ("Constraints", template.placement.constraints, _MOST_CONSTRAINTS),
        ("Preferences", template.placement.preferences, _MOST_PREFERENCES),
    ):
        if len(given) > most:
            raise invalid(f"Placement.{name}: expected at most {most}, got {len(given)}")
    for expression in template.placement.constraints:
        if len(expression) > _MAX_CONSTRAINT:
            raise invalid(
                f"Placement.Constraints: expected at most {_MAX_CONSTRAINT} characters, got {len(expression)}"
            )
        parse(expression)
    if template.placement.max_replicas < 0:
        raise invalid(f"Placement.MaxReplicas: expected 0 (no limit) or more, got {template.placement.max_replicas}")
    for preference in template.placement.preferences:
        if preference.spread is None or not preference.spread.spread_descriptor:
            raise invalid("Placement.Preferences: expected {'Spread': {'SpreadDescriptor': 'node.labels.NAME'}}")


def _check_endpoint(endpoint: EndpointSpec | None) -> None:
    if endpoint is None:
        return
    if endpoint.mode not in _ENDPOINT_MODES:
        raise invalid(f'invalid resolution mode: "{endpoint.mode}"')
    for port in endpoint.ports:
        if port.protocol not in _PROTOCOLS:
            raise invalid(f"EndpointSpec.Ports.Protocol: expected tcp, udp or sctp, got {port.protocol!r}")
        if port.publish_mode not in _PUBLISH_MODES:
            raise invalid(f"EndpointSpec.Ports.PublishMode: expected ingress or host, got {port.publish_mode!r}")
        if not 1 <= port.target_port <= _MAX_PORT:
            raise invalid(f"EndpointSpec.Ports.TargetPort: expected 1 to {_MAX_PORT}, got {port.target_port}")
        if not 0 <= port.published_port <= _MAX_PORT:
            raise invalid(f"EndpointSpec.Ports.PublishedPort: expected 0 to {_MAX_PORT}, got {port.published_port}")
        if port.host_ip:
            _check_host_ip(port)
    _check_port_conflicts(endpoint)


def _check_host_ip(port: PortConfig) -> None:
    """Check the one address that a port is to answer on, which is compared as text: every host's rules name it."""
    try:
        address = ip_address(port.host_ip)
    except ValueError:
        address = None
    if address is None or "%" in port.host_ip:
        raise invalid(f"EndpointSpec.Ports.HostIP: expected an IPv4 or IPv6 address, got {port.host_ip!r}")
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None or port.host_ip != str(address):
        raise invalid(f"EndpointSpec.Ports.HostIP: write {port.host_ip!r} as {str(mapped or address)!r}")
    if port.host_ip == LOOPBACK6_AS_IPV4:
        raise invalid(f"EndpointSpec.Ports.HostIP: on each node {port.host_ip} stands for ::1: publish at 127.0.0.1")


def _check_port_conflicts(endpoint: EndpointSpec) -> None:
    if endpoint.mode == "dnsrr" and any(port.publish_mode == "ingress" for port in endpoint.ports):
        raise InvalidArgument("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")
    published = [(p.published_port, p.protocol, p.host_ip) for p in endpoint.ports if p.published_port]
    if len(published) != len(set(published)):
        raise InvalidArgument("EndpointSpec: duplicate published ports provided")
    addresses = Counter((number, protocol) for number, protocol, _ in published)
    for (number, protocol), count in addresses.items():
        if count > _MOST_ADDRESSES:
            text = f"expected at most {_MOST_ADDRESSES} addresses for port {number}/{protocol}, got {count}"
            raise invalid(f"EndpointSpec.Ports.HostIP: {text}")


# --- resources ---


def check_resources(resources: Resources | None) -> None:
    """Refuse what no engine can enforce: under 0.001 of a core, under 4 MiB (swarmkit `controlapi/service.go`).

    Raises:
        InvalidArgument: in the engine's words.
        EngineError: 400; the message names the field.

    """
    if resources is None:
        return
    for part in (resources.limits, resources.reservations):
        if part is not None:
            _check_amounts(part)
    if resources.reservations is not None:
        _check_generic(resources.reservations.generic_resources)
        for kind, names in by_name(resources.reservations).items():
            if len(set(names)) < len(names):
                raise invalid(f"Reservations.GenericResources: {kind} has the same name twice")


def _check_amounts(part: Limits | Reservations) -> None:
    if part.nano_cpus and part.nano_cpus < MIN_NANO_CPUS:
        value, least = part.nano_cpus / NANO_CPUS, MIN_NANO_CPUS / NANO_CPUS
        raise InvalidArgument(f"invalid cpu value {value:g}: Must be at least {least:g}")
    if part.memory_bytes and part.memory_bytes < MIN_MEMORY_BYTES:
        raise InvalidArgument(f"invalid memory value {part.memory_bytes}: Must be at least 4MiB")


def _check_generic(resources: tuple[GenericResource, ...]) -> None:
    for resource in resources:
        named, discrete = resource.named_resource_spec, resource.discrete_resource_spec
        if named is not None and discrete is None and named.kind and named.value:
            continue
        if named is not None or discrete is None or not discrete.kind or discrete.value < 0:
            raise invalid(
                "Reservations.GenericResources: expected {'DiscreteResourceSpec': {'Kind': K, 'Value': N}}, or "
                "{'NamedResourceSpec': {'Kind': K, 'Value': NAME}}"
            )


def check_autoscaling(spec: ServiceSpec) -> None:
    """Refuse a policy that the service cannot follow.

    Raises:
        EngineError, InvalidArgument: 400; says what to set.

    """
    policy = autoscale.of(spec)
    if policy is None:
        return
    if spec.mode.is_global or spec.mode.is_job:
        raise invalid(f"label {LABEL}: expected a replicated service: others have no number of tasks to choose")
    for name in autoscale.lacking(policy, spec):
        raise invalid(f"label {LABEL}: {name} is a share of what a task reserves: set {_RESERVATION[name]}")

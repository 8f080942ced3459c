"""A service as `service inspect --pretty` shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from common.clock import to_the_second
from common.model import Service
from common.model.container import ContainerSpec
from common.model.service import Resources, ServiceSpec, UpdateConfig
from common.model.update import Requested
from common.spec import autoscale, extensions
from common.text.quantities import NANO_CPUS, format_duration, human_size
from manager.cli.format.tables import ago


def page(service: Service, networks: Mapping[str, str], now: float) -> str:
    """Lay a service out in lines (`Key:` and tabs, as the Docker command line has them); `networks` are names by id."""
    return "\n" + "\n".join(_lines(service, networks, now)) + "\n"


def _lines(service: Service, networks: Mapping[str, str], now: float) -> Iterator[str]:
    spec = service.spec
    container = spec.task_template.container_spec or ContainerSpec()
    yield f"ID:\t\t{service.id}"
    yield f"Name:\t\t{spec.name}"
    if spec.labels:
        yield "Labels:"
        yield from (f" {key}={value}" if value else f" {key}" for key, value in sorted(spec.labels.items()))
    yield from _mode(spec)
    yield from _schedule(service)
    yield from _autoscaling(service, now)
    yield from _update_status(service, now)
    yield from _placement(spec)
    yield from _rollout("UpdateConfig:", "Update order:      ", spec.update_config)
    yield from _rollout("RollbackConfig:", "Rollback order:    ", spec.rollback_config)
    yield from _container(container)
    yield from _files(container)
    yield from _log_driver(spec)
    yield from _resources(spec.task_template.resources)
    yield from _endpoint(service, networks)
    yield from _health(container)


def _mode(spec: ServiceSpec) -> Iterator[str]:
    mode = spec.mode
    if mode.replicated is not None:
        yield "Service Mode:\tReplicated"
        if mode.replicated.replicas is not None:
            yield f" Replicas:\t{mode.replicated.replicas}"
    elif mode.global_ is not None:
        yield "Service Mode:\tGlobal"
    elif (job := mode.replicated_job) is not None:
        yield "Service Mode:\tReplicated Job"
        if job.total_completions is not None:
            yield f" Total Completions:\t{job.total_completions}"
        if job.max_concurrent is not None:
            yield f" Max Concurrent:\t{job.max_concurrent}"
    else:
        yield "Service Mode:\tGlobal Job"


def _schedule(service: Service) -> Iterator[str]:
    said, status = extensions.of(service), service.schedule_status
    if not said.schedule or status is None:
        return
    yield "Schedule:"
    yield f" When:\t\t{said.schedule} ({said.schedule_timezone})"
    last = service.job_status.last_execution if service.job_status is not None else 0.0
    yield f" Last run:\t{to_the_second(last) if last else 'none yet'}"
    if status.next_at:
        yield f" Next run:\t{to_the_second(status.next_at)}"


def _autoscaling(service: Service, now: float) -> Iterator[str]:
    status, policy = service.autoscale_status, autoscale.of(service.spec)
    if policy is None or status is None:
        return
    yield "Autoscaling:"
    yield f" Replicas:\t{policy.minimum} to {policy.maximum}"
    yield f" Now:\t\t{status.reading}"
    if status.scaled_at:
        yield f" Last:\t\t{status.message}, {ago(status.scaled_at, now)}"


def _update_status(service: Service, now: float) -> Iterator[str]:
    status = service.update_status
    if status is None or not status.state:
        return
    yield "UpdateStatus:"
    yield f" State:\t\t{status.state}"
    if status.started_at:
        yield f" Started:\t{ago(status.started_at, now)}"
    if status.state == "completed" and status.completed_at:
        yield f" Completed:\t{ago(status.completed_at, now)}"
    yield f" Message:\t{status.message}"
    if isinstance(status.reason, Requested) and status.reason.by:
        yield f" Requested by:\t{status.reason.by}"
    if status.returns_to:
        yield f" Returns to:\trevision {status.returns_to}"
    if (progress := status.progress) is not None:
        at_work = f", {progress.batch} being changed" if progress.batch else ""
        yield f" Progress:\t{progress.done} of {progress.of} tasks{at_work}"
        if progress.monitor_until:
            yield f" Monitored:\tuntil {to_the_second(progress.monitor_until)}"


def _join_items(items: Iterator[str] | tuple[str, ...]) -> str:
    return "[" + " ".join(items) + "]"


def _placement(spec: ServiceSpec) -> Iterator[str]:
    placement = spec.task_template.placement
    yield "Placement:"
    if placement is None:
        return
    if placement.constraints:
        yield f" Constraints:\t{_join_items(placement.constraints)}"
    spreads = tuple(f"spread={each.spread.spread_descriptor}" for each in placement.preferences if each.spread)
    if spreads:
        yield f" Preferences:   {_join_items(spreads)}"
    if placement.max_replicas:
        yield f" Max Replicas Per Node:   {placement.max_replicas}"


def _rollout(head: str, order: str, config: UpdateConfig | None) -> Iterator[str]:
    if config is None:
        return
    yield head
    yield f" Parallelism:\t{config.parallelism}"
    if config.delay:
        yield f" Delay:\t\t{format_duration(config.delay)}"
    yield f" On failure:\t{config.failure_action}"
    if config.monitor:
        yield f" Monitoring Period: {format_duration(config.monitor)}"
    yield f" Max failure ratio: {config.max_failure_ratio:g}"
    yield f" {order}{config.order}"


def _container(spec: ContainerSpec) -> Iterator[str]:
    yield "ContainerSpec:"
    yield f" Image:\t\t{spec.image}"
    if spec.args:
        yield " Args:\t\t" + "".join(f"{arg} " for arg in spec.args)
    if spec.env:
        yield " Env:\t\t" + "".join(f"{variable} " for variable in spec.env)
    if spec.dir:
        yield f" Dir:\t\t{spec.dir}"
    if spec.init is not None:
        yield f" Init:\t\t{'true' if spec.init else 'false'}"
    if spec.user:
        yield f" User: {spec.user}"
    yield from _rights(spec)


def _rights(spec: ContainerSpec) -> Iterator[str]:
    if spec.capability_add or spec.capability_drop:
        yield "Capabilities:"
    if spec.capability_add:
        yield f" Add: {', '.join(spec.capability_add)}"
    if spec.capability_drop:
        yield f" Drop: {', '.join(spec.capability_drop)}"
    if spec.sysctls:
        yield "SysCtls:"
        yield from (f" {key}: {value}" if value else f" {key}" for key, value in sorted(spec.sysctls.items()))
    if spec.ulimits:
        yield "Ulimits:"
        yield from sorted(f" {limit.name}: {limit.soft}:{limit.hard}" for limit in spec.ulimits)


def _files(spec: ContainerSpec) -> Iterator[str]:
    if spec.mounts:
        yield "Mounts:"
    for mount in spec.mounts:
        yield f" Target:\t{mount.target}"
        yield f"  Source:\t{mount.source}"
        yield f"  ReadOnly:\t{'true' if mount.read_only else 'false'}"
        yield f"  Type:\t\t{mount.type}"
    if spec.configs:
        yield "Configs:"
    for config in spec.configs:
        yield f" Target:\t{config.file.name if config.file else ''}"
        yield f"  Source:\t{config.config_name}"
    if spec.secrets:
        yield "Secrets:"
    for secret in spec.secrets:
        yield f" Target:\t{secret.file.name if secret.file else ''}"
        yield f"  Source:\t{secret.secret_name}"


def _log_driver(spec: ServiceSpec) -> Iterator[str]:
    driver = spec.task_template.log_driver
    if driver is None:
        return
    yield "Log Driver:"
    if driver.name:
        yield f" Name:\t\t{driver.name}"
    if driver.options:
        yield " LogOpts:"
        for key, value in sorted(driver.options.items()):
            yield f"  {key}:       {value}" if value else f"  {key}"
    yield ""


def _resources(resources: Resources | None) -> Iterator[str]:
    if resources is None:
        return
    yield "Resources:"
    reserved, limits = resources.reservations, resources.limits
    if reserved is not None and (reserved.nano_cpus or reserved.memory_bytes):
        yield " Reservations:"
        yield from _amounts(reserved.nano_cpus, reserved.memory_bytes)
    if limits is None:
        return
    if limits.nano_cpus or limits.memory_bytes or limits.pids > 0:
        yield " Limits:"
        yield from _amounts(limits.nano_cpus, limits.memory_bytes)
    if limits.pids > 0:
        yield f"  PIDs:\t\t{limits.pids}"


def _amounts(nano_cpus: int, memory: int) -> Iterator[str]:
    if nano_cpus:
        yield f"  CPU:\t\t{nano_cpus / NANO_CPUS:g}"
    if memory:
        yield f"  Memory:\t{human_size(memory)}"


def _endpoint(service: Service, networks: Mapping[str, str]) -> Iterator[str]:
    attached = service.spec.attachments
    if attached:
        yield "Networks:" + "".join(f" {networks.get(each.target, each.target)}" for each in attached) + " "
    spec = service.spec.endpoint_spec
    yield f"Endpoint Mode:\t{spec.mode if spec else ''}"
    ports = service.endpoint.ports if service.endpoint else ()
    if ports:
        yield "Ports:"
    for index, port in enumerate(ports):
        yield f" PublishedPort = {port.published_port}"
        yield f"  Protocol = {port.protocol}"
        yield f"  TargetPort = {port.target_port}"
        yield f"  PublishMode = {port.publish_mode}" + (" " if index == len(ports) - 1 else "")


def _health(spec: ContainerSpec) -> Iterator[str]:
    check = spec.healthcheck
    if check is None:
        return
    yield " Healthcheck:"
    yield f"  Interval = {format_duration(check.interval)}"
    yield f"  Retries = {check.retries}"
    yield f"  StartPeriod =\t{format_duration(check.start_period)}"
    yield f"  Timeout =\t{format_duration(check.timeout)}"
    if check.test:
        yield "  Tests:"
        yield from (f"\t Test = {part}" for part in check.test[:-1])
        yield f"\t Test = {check.test[-1]} "

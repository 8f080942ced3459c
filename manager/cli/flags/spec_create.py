"""`service create`: flags in, a specification out. Pure, but for `--env-file`, which is read.

Some parts are set the same way on create and on update. `given` holds the values of flags by their Python names; None
and () mean that a flag was not given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from common.clock import SECOND
from common.model.container import ContainerSpec, DnsConfig, DriverConfig, HealthConfig, Privileges
from common.model.naming import Model
from common.model.service import (
    EndpointSpec,
    Global,
    GlobalJob,
    Limits,
    Placement,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from common.text.image_names import familiar
from manager.cli.flags import engine
from manager.cli.flags.keyvalue import merge_variables, read_env_file
from manager.cli.flags.limits import merge_capabilities, merge_ulimits

_MODES = ("replicated", "global", "replicated-job", "global-job")
_ROLLOUT_FLAGS = ("update_", "rollback_")


def build(image: str, args: Sequence[str], given: Given, environ: Mapping[str, str]) -> ServiceSpec:
    """Make the specification of a new service; ids of networks, secrets and configs are not looked up yet.

    Raises:
        ValueError: flags that do not go together, an unknown mode, an environment file that is wrong.
        OSError: an environment file cannot be read.

    """
    mode = service_mode(given)
    _refuse_mixes(mode, given)
    return ServiceSpec(
        name=given.get("name") or "",
        labels=dict(given["label"]),
        task_template=_template(image, args, given, environ),
        mode=mode,
        update_config=rollout("update", None, given),
        rollback_config=rollout("rollback", None, given),
        endpoint_spec=EndpointSpec(
            mode=(given.get("endpoint_mode") or "vip").lower(),
            ports=tuple(port for ports in given["publish"] for port in ports),
        ),
    )


def service_mode(given: Given) -> ServiceMode:
    """Make the mode from `--mode`, `--replicas` and `--max-concurrent`.

    Raises:
        ValueError: an unknown mode, or a count that the mode does not have.

    """
    mode, replicas, concurrent = given["mode"], given.get("replicas"), given.get("max_concurrent")
    if mode not in _MODES:
        raise ValueError(f"Unknown mode: {mode}, only {', '.join(_MODES)} are supported")
    counted = mode in ("replicated", "replicated-job")
    if replicas is not None and not counted:
        raise ValueError("replicas can only be used with replicated or replicated-job mode")
    if given.get("replicas_max_per_node") and not counted:
        raise ValueError("replicas-max-per-node can only be used with replicated or replicated-job mode")
    if concurrent is not None and mode != "replicated-job":
        raise ValueError("max-concurrent can only be used with replicated-job mode")
    if mode == "replicated":
        return ServiceMode(replicated=Replicated(replicas=replicas))
    if mode == "global":
        return ServiceMode(global_=Global())
    if mode == "global-job":
        return ServiceMode(global_job=GlobalJob())
    total = 1 if replicas is None else replicas
    return ServiceMode(
        replicated_job=ReplicatedJob(
            max_concurrent=total if concurrent is None else concurrent, total_completions=total
        )
    )


def _refuse_mixes(mode: ServiceMode, given: Given) -> None:
    if mode.replicated_job is None and mode.global_job is None:
        return
    if any(name.startswith(_ROLLOUT_FLAGS) and value is not None for name, value in given.items()):
        raise ValueError("update and rollback configuration is not supported for jobs")


def _template(image: str, args: Sequence[str], given: Given, environ: Mapping[str, str]) -> TaskSpec:
    generic = tuple(each for group in given["generic_resource"] for each in group)
    wanted = resources(None, given) or Resources()
    reserved = msgspec.structs.replace(wanted.reservations or Reservations(), generic_resources=generic)
    return TaskSpec(
        container_spec=_container(image, args, given, environ),
        resources=msgspec.structs.replace(wanted, reservations=reserved),
        restart_policy=restart_policy(None, given),
        placement=Placement(
            constraints=tuple(given["constraint"]),
            preferences=tuple(given["placement_pref"]),
            max_replicas=given.get("replicas_max_per_node") or 0,
        ),
        networks=tuple(sorted(given["network"], key=lambda network: network.target)),
        log_driver=log_driver(None, given),
    )


def _container(image: str, args: Sequence[str], given: Given, environ: Mapping[str, str]) -> ContainerSpec:
    files = [variable for path in given["env_file"] for variable in read_env_file(path, environ)]
    add, drop = merge_capabilities((), (), given["cap_add"], given["cap_drop"])
    credential = given.get("credential_spec")
    base = ContainerSpec(
        image=familiar(image),
        args=tuple(args),
        labels=dict(given["container_label"]),
        env=merge_variables([*files, *given["env"]]),
        groups=tuple(given["group"]),
        mounts=tuple(given["mount"]),
        hosts=tuple(given["host"]),
        dns_config=_dns(given),
        secrets=tuple(given["secret"]),
        configs=tuple(given["config"]),
        sysctls=dict(given["sysctl"]),
        ulimits=merge_ulimits(given["ulimit"]),
        init=False,  # as docker's command has it, whatever the engines' own default is
        capability_add=add,
        capability_drop=drop,
        privileges=Privileges(credential_spec=credential) if credential else None,
    )
    return container(base, given)


def _dns(given: Mapping[str, Any]) -> DnsConfig:
    return DnsConfig(
        nameservers=tuple(given["dns"]), search=tuple(given["dns_search"]), options=tuple(given["dns_option"])
    )


Given = Mapping[str, Any]
M = TypeVar("M", bound=Model)

_CONTAINER = {
    "hostname": "hostname",
    "init": "init",
    "isolation": "isolation",
    "read_only": "read_only",
    "stop_grace_period": "stop_grace_period",
    "stop_signal": "stop_signal",
    "tty": "tty",
    "user": "user",
    "workdir": "dir",
    "entrypoint": "command",
}
_ROLLOUT = ("parallelism", "delay", "failure_action", "max_failure_ratio", "monitor", "order")
_HEALTH = {
    "health_interval": "interval",
    "health_retries": "retries",
    "health_start_interval": "start_interval",
    "health_start_period": "start_period",
    "health_timeout": "timeout",
}
_NONE = ("NONE",)
DEFAULT_RESTART = RestartPolicy(condition="any", delay=5 * SECOND, max_attempts=0)


def replace_given(value: M, given: Given, names: Mapping[str, str]) -> M:
    """Set the fields whose flags were given; `names` maps flags to fields."""
    changes = {field: given[name] for name, field in names.items() if given.get(name) is not None}
    return msgspec.structs.replace(value, **changes) if changes else value


def container(spec: ContainerSpec, given: Given) -> ContainerSpec:
    """Set what one flag each sets of the container, its health check and its options for the engine."""
    changed = msgspec.structs.replace(
        replace_given(spec, given, _CONTAINER), healthcheck=health(spec.healthcheck, given)
    )
    return engine.apply(changed, given)


def health(check: HealthConfig | None, given: Given) -> HealthConfig | None:
    """Apply the `--health-*` flags.

    Raises:
        ValueError: `--no-healthcheck` comes with one of them.

    """
    touched = given.get("health_cmd") is not None or any(given.get(name) is not None for name in _HEALTH)
    if given.get("no_healthcheck"):
        if touched:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return HealthConfig(test=_NONE)
    if not touched and given.get("no_healthcheck") is None:
        return check
    base = HealthConfig() if check is None or check.test == _NONE else check
    command = given.get("health_cmd")
    if command is not None:
        base = msgspec.structs.replace(base, test=("CMD-SHELL", command) if command else ())
    return replace_given(base, given, _HEALTH)


def resources(present: Resources | None, given: Given) -> Resources | None:
    """Apply `--limit-*` and `--reserve-*`."""
    limits = {"limit_cpu": "nano_cpus", "limit_memory": "memory_bytes", "limit_pids": "pids"}
    reserved = {"reserve_cpu": "nano_cpus", "reserve_memory": "memory_bytes"}
    base = present or Resources()
    return Resources(
        limits=replace_given(base.limits or Limits(), given, limits),
        reservations=replace_given(base.reservations or Reservations(), given, reserved),
    )


def restart_policy(present: RestartPolicy | None, given: Given) -> RestartPolicy | None:
    """Apply `--restart-*`; a policy that is begun has the defaults written out."""
    names = {f"restart_{field}": field for field in ("condition", "delay", "max_attempts", "window")}
    if all(given.get(name) is None for name in names):
        return present
    return replace_given(present or DEFAULT_RESTART, given, names)


def rollout(kind: str, present: UpdateConfig | None, given: Given) -> UpdateConfig | None:
    """Apply `--update-*` or `--rollback-*`."""
    names = {f"{kind}_{field}": field for field in _ROLLOUT}
    if all(given.get(name) is None for name in names):
        return present
    return replace_given(present or UpdateConfig(), given, names)


def log_driver(present: DriverConfig | None, given: Given) -> DriverConfig | None:
    """Apply `--log-driver` and `--log-opt`: a new driver begins without the options of the old one."""
    name, options = given.get("log_driver"), dict(given.get("log_opt") or ())
    if name is None and not options:
        return present
    base = present or DriverConfig()
    if name is not None and name != base.name:
        return DriverConfig(name=name, options=options) if name else None
    return DriverConfig(name=base.name, options={**base.options, **options})

"""Parts of a service's specification that single flags set, the same way on create and on update.

`given` holds the values of flags by their Python names; None and () mean that a flag was not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from common.clock import SECOND
from common.model.container import ContainerSpec, DriverConfig, HealthConfig
from common.model.naming import Model
from common.model.service import Limits, Reservations, Resources, RestartPolicy, UpdateConfig
from manager.cli.flags import engine

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

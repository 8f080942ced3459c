"""`service create`: flags in, a specification out. Pure, but for `--env-file`, which is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from common.model.container import ContainerSpec, DnsConfig, Privileges
from common.model.service import (
    EndpointSpec,
    Global,
    GlobalJob,
    Placement,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from common.text.image_names import familiar
from manager.cli.flags import parts
from manager.cli.flags.keyvalue import merge_variables, read_env_file
from manager.cli.flags.limits import merge_capabilities, merge_ulimits

_MODES = ("replicated", "global", "replicated-job", "global-job")
_ROLLOUT_FLAGS = ("update_", "rollback_")


def build(image: str, args: Sequence[str], given: parts.Given, environ: Mapping[str, str]) -> ServiceSpec:
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
        update_config=parts.rollout("update", None, given),
        rollback_config=parts.rollout("rollback", None, given),
        endpoint_spec=EndpointSpec(
            mode=(given.get("endpoint_mode") or "vip").lower(),
            ports=tuple(port for ports in given["publish"] for port in ports),
        ),
    )


def service_mode(given: parts.Given) -> ServiceMode:
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


def _refuse_mixes(mode: ServiceMode, given: parts.Given) -> None:
    if mode.replicated_job is None and mode.global_job is None:
        return
    if any(name.startswith(_ROLLOUT_FLAGS) and value is not None for name, value in given.items()):
        raise ValueError("update and rollback configuration is not supported for jobs")


def _template(image: str, args: Sequence[str], given: parts.Given, environ: Mapping[str, str]) -> TaskSpec:
    generic = tuple(each for group in given["generic_resource"] for each in group)
    resources = parts.resources(None, given) or Resources()
    reserved = msgspec.structs.replace(resources.reservations or Reservations(), generic_resources=generic)
    return TaskSpec(
        container_spec=_container(image, args, given, environ),
        resources=msgspec.structs.replace(resources, reservations=reserved),
        restart_policy=parts.restart_policy(None, given),
        placement=Placement(
            constraints=tuple(given["constraint"]),
            preferences=tuple(given["placement_pref"]),
            max_replicas=given.get("replicas_max_per_node") or 0,
        ),
        networks=tuple(sorted(given["network"], key=lambda network: network.target)),
        log_driver=parts.log_driver(None, given),
    )


def _container(image: str, args: Sequence[str], given: parts.Given, environ: Mapping[str, str]) -> ContainerSpec:
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
    return parts.container(base, given)


def _dns(given: Mapping[str, Any]) -> DnsConfig:
    return DnsConfig(
        nameservers=tuple(given["dns"]), search=tuple(given["dns_search"]), options=tuple(given["dns_option"])
    )

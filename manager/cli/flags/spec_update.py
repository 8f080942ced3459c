"""`service update`: a specification and flags in, the changed specification out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from common.model.container import ConfigReference, ContainerSpec, DnsConfig, Mount, Privileges, SecretReference
from common.model.service import (
    EndpointSpec,
    GenericResource,
    NetworkAttachmentConfig,
    Placement,
    PortConfig,
    Replicated,
    Reservations,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from common.text.image_names import familiar
from manager.cli.flags import spec_create
from manager.cli.flags.keyvalue import merge_variables, remove_hosts
from manager.cli.flags.limits import generic_kind, merge_capabilities, merge_ulimits
from manager.cli.flags.publish import matching_ports

_replace = msgspec.structs.replace


def apply(spec: ServiceSpec, given: spec_create.Given) -> ServiceSpec:
    """Change what flags were given for. Networks are named by id in both, references carry ids or names.

    Raises:
        ValueError: something to be removed is not there, a count that the mode does not have, conflicting flags.

    """
    return _replace(
        spec,
        labels=_mapping(spec.labels, given, "label"),
        task_template=_template(spec.task_template, given),
        mode=_mode(spec.mode, given),
        update_config=spec_create.rollout("update", spec.update_config, given),
        rollback_config=spec_create.rollout("rollback", spec.rollback_config, given),
        endpoint_spec=_endpoint(spec.endpoint_spec, given),
    )


def _template(template: TaskSpec, given: spec_create.Given) -> TaskSpec:
    return _replace(
        template,
        container_spec=_container(template.container_spec or ContainerSpec(), given),
        resources=_resources(template.resources, given),
        restart_policy=spec_create.restart_policy(template.restart_policy, given),
        placement=_placement(template.placement or Placement(), given),
        networks=_networks(template.networks, given),
        log_driver=spec_create.log_driver(template.log_driver, given),
        force_update=template.force_update + (1 if given.get("force") else 0),
    )


def _container(spec: ContainerSpec, given: spec_create.Given) -> ContainerSpec:
    add, drop = spec.capability_add, spec.capability_drop
    if given["cap_add"] or given["cap_drop"]:
        add, drop = merge_capabilities(add, drop, given["cap_add"], given["cap_drop"])
    credential = given.get("credential_spec")
    changed = _replace(
        spec,
        image=familiar(given["image"]) if given.get("image") else spec.image,
        args=spec.args if given.get("args") is None else given["args"],
        labels=_mapping(spec.labels, given, "container_label"),
        env=_variables(spec.env, given),
        groups=_words(spec.groups, given, "group"),
        mounts=_mounts(spec.mounts, given),
        hosts=(*remove_hosts(spec.hosts, given["host_rm"]), *given["host_add"]),
        dns_config=_dns(spec.dns_config, given),
        secrets=_secrets(spec.secrets, given),
        configs=_configs(spec.configs, given),
        sysctls=_mapping(spec.sysctls, given, "sysctl"),
        ulimits=_ulimits(spec, given),
        capability_add=add,
        capability_drop=drop,
        privileges=_replace(spec.privileges or Privileges(), credential_spec=credential)
        if credential
        else spec.privileges,
    )
    return spec_create.container(changed, given)


def _variables(env: tuple[str, ...], given: spec_create.Given) -> tuple[str, ...]:
    if not given["env_add"] and not given["env_rm"]:
        return env
    return merge_variables([*env, *given["env_add"]], given["env_rm"])


def _ulimits(spec: ContainerSpec, given: spec_create.Given) -> Any:
    if not given["ulimit_add"] and not given["ulimit_rm"]:
        return spec.ulimits
    return merge_ulimits([*spec.ulimits, *given["ulimit_add"]], given["ulimit_rm"])


def _mapping(present: dict[str, str], given: spec_create.Given, name: str) -> dict[str, str]:
    changed = present | dict(given[f"{name}_add"])
    return {key: value for key, value in changed.items() if key not in given[f"{name}_rm"]}


def _words(present: Sequence[str], given: spec_create.Given, name: str) -> tuple[str, ...]:
    """Apply an -add and an -rm flag to a list of words; the list is sorted only when it changes."""
    added, removed = given[f"{name}_add"], given[f"{name}_rm"]
    if not added and not removed:
        return tuple(present)
    return tuple(sorted({*present, *added} - set(removed)))


def _mounts(mounts: tuple[Mount, ...], given: spec_create.Given) -> tuple[Mount, ...]:
    if not given["mount_add"] and not given["mount_rm"]:
        return mounts
    by_target = {mount.target: mount for mount in (*mounts, *given["mount_add"])}
    targets = [mount.target for mount in given["mount_add"]]
    if len(targets) != len(set(targets)):
        raise ValueError("duplicate mount target in --mount-add")
    kept = [mount for mount in by_target.values() if mount.target not in given["mount_rm"]]
    return tuple(sorted(kept, key=lambda mount: (mount.source, mount.target)))


def _dns(config: DnsConfig | None, given: spec_create.Given) -> DnsConfig | None:
    flags = ("dns", "dns_option", "dns_search")
    if not any(given[f"{name}_{end}"] for name in flags for end in ("add", "rm")):
        return config
    base = config or DnsConfig()
    return DnsConfig(
        nameservers=_words(base.nameservers, given, "dns"),
        search=_words(base.search, given, "dns_search"),
        options=_words(base.options, given, "dns_option"),
    )


def _secrets(present: tuple[SecretReference, ...], given: spec_create.Given) -> tuple[SecretReference, ...]:
    kept = [each for each in present if not {each.secret_name, each.secret_id} & set(given["secret_rm"])]
    return _by_target(kept, given["secret_add"])


def _configs(present: tuple[ConfigReference, ...], given: spec_create.Given) -> tuple[ConfigReference, ...]:
    kept = [each for each in present if not {each.config_name, each.config_id} & set(given["config_rm"])]
    return _by_target(kept, given["config_add"])


def _by_target(kept: Iterable[Any], added: Sequence[Any]) -> tuple[Any, ...]:
    """Add references; one that is added for a target which is taken takes its place."""
    targets = {each.file.name for each in added if each.file}
    return (*(each for each in kept if not each.file or each.file.name not in targets), *added)


def _resources(present: Resources | None, given: spec_create.Given) -> Resources | None:
    changed = spec_create.resources(present, given) or Resources()
    reserved = changed.reservations or Reservations()
    generic = _generic(reserved.generic_resources, given)
    return _replace(changed, reservations=_replace(reserved, generic_resources=generic))


def _generic(present: tuple[GenericResource, ...], given: spec_create.Given) -> tuple[GenericResource, ...]:
    added = tuple(each for group in given["generic_resource_add"] for each in group)
    replaced = {generic_kind(each) for each in added} | set(given["generic_resource_rm"])
    unknown = set(given["generic_resource_rm"]) - {generic_kind(each) for each in present}
    if unknown:
        raise ValueError(f"could not find generic-resource `{min(unknown)}` to remove it")
    return (*(each for each in present if generic_kind(each) not in replaced), *added)


def _placement(present: Placement, given: spec_create.Given) -> Placement:
    kept = [each for each in present.preferences if each not in given["placement_pref_rm"]]
    limit = given.get("replicas_max_per_node")
    return _replace(
        present,
        constraints=_words(present.constraints, given, "constraint"),
        preferences=(*kept, *given["placement_pref_add"]),
        max_replicas=present.max_replicas if limit is None else limit,
    )


def _networks(
    present: tuple[NetworkAttachmentConfig, ...], given: spec_create.Given
) -> tuple[NetworkAttachmentConfig, ...]:
    if not given["network_add"] and not given["network_rm"]:
        return present
    kept = [each for each in present if each.target not in given["network_rm"]]
    targets = {each.target for each in kept}
    for each in given["network_add"]:
        if each.target in targets:
            raise ValueError(f"service is already attached to network {each.target}")
    return tuple(sorted([*kept, *given["network_add"]], key=lambda each: each.target))


def _mode(mode: ServiceMode, given: spec_create.Given) -> ServiceMode:
    replicas, concurrent = given.get("replicas"), given.get("max_concurrent")
    if replicas is not None and mode.replicated is None and mode.replicated_job is None:
        raise ValueError("replicas can only be used with replicated or replicated-job mode")
    if concurrent is not None and mode.replicated_job is None:
        raise ValueError("max-concurrent can only be used with replicated-job mode")
    if mode.replicated is not None and replicas is not None:
        return _replace(mode, replicated=Replicated(replicas=replicas))
    if mode.replicated_job is not None:
        names = {"replicas": "total_completions", "max_concurrent": "max_concurrent"}
        return _replace(mode, replicated_job=spec_create.replace_given(mode.replicated_job, given, names))
    return mode


def _endpoint(present: EndpointSpec | None, given: spec_create.Given) -> EndpointSpec | None:
    mode = given.get("endpoint_mode")
    if mode is None and not given["publish_add"] and not given["publish_rm"]:
        return present
    base = present or EndpointSpec()
    return EndpointSpec(mode=mode or base.mode, ports=_ports(base.ports, given))


def _ports(present: tuple[PortConfig, ...], given: spec_create.Given) -> tuple[PortConfig, ...]:
    removed = {port for ports in given["publish_rm"] for gone in ports for port in matching_ports(present, gone)}
    kept = [port for port in present if port not in removed]
    added = [port for ports in given["publish_add"] for port in ports]
    return tuple(sorted({*kept, *added}, key=lambda port: (port.published_port, port.target_port, port.protocol)))

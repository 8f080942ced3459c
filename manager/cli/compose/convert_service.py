"""One service of a configuration as a `ServiceSpec`.

What a file asks of the engine beyond `ContainerSpec` (`privileged`, `devices`, …) becomes `EngineOptions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from common.model.container import (
    ConfigReference,
    ContainerSpec,
    CredentialSpec,
    DnsConfig,
    DriverConfig,
    FileTarget,
    HealthConfig,
    Privileges,
    RuntimeTarget,
    SecretReference,
    Ulimit,
)
from common.model.engine_options import Device, DeviceRequest, EngineOptions, ThrottleDevice, WeightDevice, with_options
from common.model.service import (
    EndpointSpec,
    NetworkAttachmentConfig,
    PortConfig,
    ServiceSpec,
    TaskSpec,
)
from common.spec.gotemplate import TemplateError
from common.spec.task_templates import check_templates
from common.text.image_names import familiar
from common.text.quantities import parse_duration, parse_size
from manager.cli.compose.builds import default_image_name
from manager.cli.compose.config import Tree
from manager.cli.compose.convert_deploy import mode, placement, resources, restart_policy, update_config
from manager.cli.compose.convert_extensions import extension_labels
from manager.cli.compose.convert_mounts import mounts
from manager.cli.compose.errors import KeyPath
from manager.cli.compose.references import DEFAULT_NETWORK, IMAGE_LABEL, Scope, is_user_defined
from manager.cli.compose.short_syntax import parse_device

_ALL_CAPABILITIES = "ALL"

# The keys whose values are the engine's own, by the field that they set.
_PLAIN = {
    "privileged": "privileged",
    "pid": "pid_mode",
    "ipc": "ipc_mode",
    "uts": "uts_mode",
    "userns_mode": "userns_mode",
    "cgroup_parent": "cgroup_parent",
    "oom_kill_disable": "oom_kill_disable",
    "cpuset": "cpuset_cpus",
    "cpu_shares": "cpu_shares",
    "memswap_limit": "memory_swap",
    "mem_swappiness": "memory_swappiness",
    "storage_opt": "storage_opt",
    "runtime": "runtime",
    "domainname": "domainname",
    "mac_address": "mac_address",
}
_RATES = ("device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops")
_GPU = ("gpu",)


def convert_service(scope: Scope, name: str, service: Tree) -> ServiceSpec:
    """Make the specification that `docker stack deploy` sends for a service."""
    at: KeyPath = ("services", name)
    deploy = service.get("deploy", {})
    image = service.get("image", "") or (default_image_name(scope.stack, name) if service.get("build") else "")
    if not image:
        raise scope.config.error(at, 'neither "image" nor "build" says what the service runs')
    service = {**service, "image": image}
    container = _container(scope, at, service)
    try:
        check_templates(container, scope.full(name), scope.labels(deploy))
    except TemplateError as error:
        raise scope.config.error(at, error.message) from None
    return ServiceSpec(
        name=scope.full(name),
        labels={**scope.labels(deploy), IMAGE_LABEL: image, **extension_labels(scope, name, service)},
        task_template=TaskSpec(
            container_spec=with_options(container, engine_options(scope, at, service)),
            resources=resources(deploy.get("resources", {})),
            restart_policy=restart_policy(scope, at, service),
            placement=placement(scope, at, deploy.get("placement", {})),
            networks=_networks(scope, at, name, service),
            log_driver=_log_driver(service),
        ),
        mode=mode(scope, at, deploy),
        update_config=update_config(deploy.get("update_config")),
        rollback_config=update_config(deploy.get("rollback_config")),
        endpoint_spec=_endpoint(service),
    )


def _container(scope: Scope, at: KeyPath, service: Tree) -> ContainerSpec:
    added, dropped = _capabilities(service.get("cap_add", []), service.get("cap_drop", []))
    grace = service.get("stop_grace_period")
    return ContainerSpec(
        image=familiar(service["image"]),
        labels=scope.labels(service),
        command=tuple(service.get("entrypoint", ())),
        args=tuple(service.get("command", ())),
        hostname=service.get("hostname", ""),
        env=_environment(service.get("environment", {})),
        dir=service.get("working_dir", ""),
        user=service.get("user", ""),
        groups=tuple(service.get("group_add", ())),
        privileges=_privileges(scope, at, service.get("credential_spec", {})),
        init=service.get("init"),
        stop_signal=service.get("stop_signal", ""),
        tty=service.get("tty", False),
        open_stdin=service.get("stdin_open", False),
        read_only=service.get("read_only", False),
        mounts=mounts(scope, at, service),
        stop_grace_period=None if grace is None else parse_duration(grace),
        healthcheck=_healthcheck(scope, at, service.get("healthcheck")),
        hosts=_hosts(service.get("extra_hosts", [])),
        dns_config=_dns(service),
        secrets=_secrets(scope, at, service),
        configs=_configs(scope, at, service),
        isolation=service.get("isolation", ""),
        sysctls=service.get("sysctls", {}),
        capability_add=added,
        capability_drop=dropped,
        ulimits=_ulimits(service.get("ulimits", {})),
        oom_score_adj=service.get("oom_score_adj", 0),
    )


def _environment(variables: dict[str, str | None]) -> tuple[str, ...]:
    return tuple(sorted(name if value is None else f"{name}={value}" for name, value in variables.items()))


def _hosts(pairs: list[str]) -> tuple[str, ...]:
    """Turn `host:address` into the engine's `address host`; as in Docker, an entry without a colon is dropped."""
    split = (pair.partition(":") for pair in pairs)
    return tuple(f"{address} {host}" for host, colon, address in split if colon)


def _dns(service: Tree) -> DnsConfig | None:
    servers, search, options = (tuple(service.get(key, ())) for key in ("dns", "dns_search", "dns_opt"))
    found = DnsConfig(nameservers=servers, search=search, options=options)
    return found if found != DnsConfig() else None


def _log_driver(service: Tree) -> DriverConfig | None:
    logging = service.get("logging")
    if logging is None:
        return None
    return DriverConfig(name=logging.get("driver", ""), options=logging.get("options", {}))


def _healthcheck(scope: Scope, at: KeyPath, check: Tree | None) -> HealthConfig | None:
    if check is None:
        return None
    test = tuple(check.get("test", ()))
    if check.get("disable"):
        if test:
            raise scope.config.error((*at, "healthcheck"), "test and disable cannot both be set")
        return HealthConfig(test=("NONE",))
    times = {
        key: parse_duration(check[key])
        for key in ("interval", "timeout", "start_period", "start_interval")
        if key in check
    }
    return HealthConfig(test=test, retries=check.get("retries", 0), **times)


def _capabilities(add: list[str], drop: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Spell capabilities as the kernel does; ALL stands for itself alone, and adding wins over dropping."""
    added = {_capability(name) for name in add}
    dropped = {_capability(name) for name in drop}
    added = {_ALL_CAPABILITIES} if _ALL_CAPABILITIES in added else added
    dropped = {_ALL_CAPABILITIES} if _ALL_CAPABILITIES in dropped else dropped
    return tuple(sorted(added)), tuple(sorted(dropped - added))


def _capability(name: str) -> str:
    upper = name.strip().upper()
    return upper if upper in (_ALL_CAPABILITIES, "RESET") or upper.startswith("CAP_") else f"CAP_{upper}"


def _ulimits(limits: dict[str, int | dict[str, int]]) -> tuple[Ulimit, ...]:
    """One number is both limits."""
    pairs = {
        name: (limit, limit) if isinstance(limit, int) else (limit["soft"], limit["hard"])
        for name, limit in limits.items()
    }
    return tuple(Ulimit(name=name, soft=soft, hard=hard) for name, (soft, hard) in sorted(pairs.items()))


def _privileges(scope: Scope, at: KeyPath, spec: Tree) -> Privileges:
    if not spec:
        return Privileges()  # as docker's deploy: else who changes from one to the other restarts all tasks
    if len(spec) > 1:
        raise scope.config.error(
            (*at, "credential_spec"), f"expected one of {', '.join(sorted(spec))}, got all of them"
        )
    if "config" in spec:
        name = scope.lookup("configs", spec["config"], (*at, "credential_spec", "config"))
        return Privileges(credential_spec=CredentialSpec(config=name))
    return Privileges(credential_spec=CredentialSpec(**spec))


def _file_target(reference: Tree) -> FileTarget:
    source: str = reference["source"]
    return FileTarget(
        name=reference.get("target", source),
        uid=reference.get("uid", "0"),
        gid=reference.get("gid", "0"),
        mode=reference.get("mode", 0o444),
    )


def _secrets(scope: Scope, at: KeyPath, service: Tree) -> tuple[SecretReference, ...]:
    path = (*at, "secrets")
    references = [
        SecretReference(file=_file_target(reference), secret_name=scope.lookup("secrets", reference["source"], path))
        for reference in service.get("secrets", [])
    ]
    return tuple(sorted(references, key=lambda reference: reference.secret_name))


def _configs(scope: Scope, at: KeyPath, service: Tree) -> tuple[ConfigReference, ...]:
    path = (*at, "configs")
    references = [
        ConfigReference(file=_file_target(reference), config_name=scope.lookup("configs", reference["source"], path))
        for reference in service.get("configs", [])
    ]
    if credential := service.get("credential_spec", {}).get("config"):
        name = scope.lookup("configs", credential, (*at, "credential_spec", "config"))
        references.append(ConfigReference(runtime=RuntimeTarget(), config_name=name))
    return tuple(sorted(references, key=lambda reference: reference.config_name))


def _networks(scope: Scope, at: KeyPath, name: str, service: Tree) -> tuple[NetworkAttachmentConfig, ...]:
    attachments = []
    for network, options in (service.get("networks") or {DEFAULT_NETWORK: None}).items():
        if network == DEFAULT_NETWORK:
            target = scope.network(network)
        else:
            target = scope.lookup("networks", network, (*at, "networks", network))
        aliases = (options or {}).get("aliases", [])
        attachment = NetworkAttachmentConfig(
            target=target,
            aliases=(*aliases, name) if is_user_defined(target) else tuple(aliases),
            driver_opts=(options or {}).get("driver_opts", {}),
        )
        attachments.append(attachment)
    return tuple(sorted(attachments, key=lambda attachment: attachment.target))


def _endpoint(service: Tree) -> EndpointSpec:
    ports = [
        PortConfig(
            protocol=port.get("protocol", "tcp"),
            target_port=port["target"],
            published_port=port.get("published", 0),
            publish_mode=port.get("mode", "ingress"),
            host_ip=port.get("host_ip", ""),
        )
        for port in service.get("ports", [])
    ]
    endpoint_mode = service.get("deploy", {}).get("endpoint_mode", "vip").lower()
    return EndpointSpec(mode=endpoint_mode, ports=tuple(sorted(ports, key=lambda port: port.published_port)))


# --- options for the engine ---


def engine_options(scope: Scope, at: KeyPath, service: Tree) -> EngineOptions:
    """Read the options of a service.

    Raises `ComposeError`: a device or size that cannot be read, a namespace of another service.
    """
    _refuse_shared_namespaces(scope, at, service)
    blkio = service.get("blkio_config", {})
    fields: dict[str, Any] = {field: service[key] for key, field in _PLAIN.items() if key in service}
    fields |= {f"blkio_{name}": tuple(ThrottleDevice(**each) for each in blkio.get(name, ())) for name in _RATES}
    devices = list(_devices(scope, at, service.get("devices", [])))
    return EngineOptions(
        **fields,
        cgroupns_mode=service.get("cgroupns_mode") or service.get("cgroup", ""),
        devices=tuple(each for each in devices if isinstance(each, Device)),
        device_requests=(
            *(each for each in devices if isinstance(each, DeviceRequest)),
            *_requests(scope, at, service),
        ),
        device_cgroup_rules=tuple(service.get("device_cgroup_rules", ())),
        shm_size=_shm_size(scope, at, service.get("shm_size", "0")),
        security_opt=tuple(service.get("security_opt", ())),
        blkio_weight=blkio.get("weight", 0),
        blkio_weight_device=tuple(WeightDevice(**each) for each in blkio.get("weight_device", ())),
    )


def _refuse_shared_namespaces(scope: Scope, at: KeyPath, service: Tree) -> None:
    for key in ("pid", "ipc"):
        if service.get(key, "").startswith(("service:", "container:")):
            message = f'"{service[key]}": containers of a stack may be on different hosts and cannot share this'
            raise scope.config.error((*at, key), message)


def _devices(scope: Scope, at: KeyPath, entries: Iterable[str | Tree]) -> Iterator[Device | DeviceRequest]:
    for index, entry in enumerate(entries):
        if isinstance(entry, dict):
            source: str = entry["source"]
            yield Device(
                path_on_host=source,
                path_in_container=entry.get("target", source),
                cgroup_permissions=entry.get("permissions", "rwm"),
            )
            continue
        try:
            yield parse_device(entry)
        except ValueError as error:
            raise scope.config.error((*at, "devices", index), str(error)) from None


def _requests(scope: Scope, at: KeyPath, service: Tree) -> Iterator[DeviceRequest]:
    reserved = ("deploy", "resources", "reservations", "devices")
    tree: Any = service
    for key in reserved:
        tree = tree.get(key, {})
    for path, entries, capabilities in (
        ((*at, "gpus"), service.get("gpus", ()), _GPU),
        ((*at, *reserved), tree or (), ()),
    ):
        for index, entry in enumerate(entries):
            ids = tuple(entry.get("device_ids", ()))
            if ids and entry.get("count"):
                raise scope.config.error((*path, index), "count and device_ids cannot both be given")
            yield DeviceRequest(
                driver=entry.get("driver", ""),
                # As in Compose, no count and no ids are all there are.
                count=0 if ids else entry.get("count", -1),
                device_ids=ids,
                capabilities=(tuple(dict.fromkeys((*capabilities, *entry.get("capabilities", ())))),),
                options=entry.get("options", {}),
            )


def _shm_size(scope: Scope, at: KeyPath, text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise scope.config.error((*at, "shm_size"), f'{error}; expected a size such as "64M"') from None

"""Translate a task to the body of the engine's POST /containers/create: every field of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from common.clock import seconds
from common.model.container import DEFAULT_STOP_GRACE, ContainerSpec, DriverConfig, Mount, Privileges
from common.model.engine_options import Device, EngineOptions, options_of
from common.model.node import NodeDescription
from common.model.service import GenericResource, PortConfig, Resources
from common.model.task import Task
from common.spec import task_templates
from worker.interfaces.engine import (
    JSON,
    LABEL_AGENT,
    LABEL_NODE_ID,
    LABEL_SERVICE_ID,
    LABEL_SERVICE_NAME,
    LABEL_TASK,
    LABEL_TASK_ID,
    LABEL_TASK_NAME,
)
from worker.interfaces.networks import Attachment

_DEVICES = "/dev/"
# What `systempaths=unconfined` stands for: nothing of /proc and /sys is hidden or read-only.
_ALL_PATHS = "systempaths=unconfined"
# Of the options, those that belong elsewhere in the request.
_NOT_HOST = ("Domainname", "MacAddress")


def create_body(
    task: Task, spec: ContainerSpec, node_id: str, attachment: Attachment, files: Mapping[str, str]
) -> JSON:
    """Write the whole request.

    Args:
        task: the task, whose resources, ports and labels count.
        spec: its container's specification, templates expanded (`expand_templates`).
        node_id: this node.
        attachment: the networks that the container gets.
        files: host paths of secrets and configs by their path in the container.

    """
    exposed: JSON = {_port_key(port): {} for port in host_ports(task)}
    options = options_of(spec)
    extras = host_config(options, spec.privileges, task.generic_resources)
    return _drop_unset(
        {
            "Image": spec.image,
            "Hostname": spec.hostname,
            "Domainname": options.domainname,
            "MacAddress": options.mac_address,
            "Env": [*spec.env, *_generic_env(task.generic_resources)],
            "Entrypoint": list(spec.command),
            "Cmd": list(spec.args),
            "WorkingDir": spec.dir,
            "User": spec.user,
            "Labels": {**spec.labels, **task_labels(task, node_id)},
            "Tty": spec.tty,
            "OpenStdin": spec.open_stdin,
            "StopSignal": spec.stop_signal,
            "ExposedPorts": exposed,
            "Healthcheck": msgspec.to_builtins(spec.healthcheck) if spec.healthcheck else None,
            "NetworkingConfig": {"EndpointsConfig": _endpoints(attachment)} if attachment.endpoints else None,
        }
    ) | {"StopTimeout": int(stop_grace(task)), "HostConfig": _host_config(task, spec, attachment, files) | extras}


def expand_templates(task: Task, node_id: str, node: NodeDescription) -> ContainerSpec:
    """Return the task's container specification with its templates expanded.

    Raises:
        TemplateError: a template is wrong.

    """
    return task_templates.expand_spec(container_spec(task), task_templates.context(task, node_id, node))


def container_spec(task: Task) -> ContainerSpec:
    return task.spec.container_spec or ContainerSpec()


def stop_grace(task: Task) -> float:
    """Seconds between the stop signal and the kill."""
    grace = container_spec(task).stop_grace_period
    return seconds(DEFAULT_STOP_GRACE if grace is None else grace)


def task_labels(task: Task, node_id: str) -> dict[str, str]:
    """Return the labels of a task's container (moby `daemon/cluster/executor/container/container.go`)."""
    return {
        LABEL_TASK: "",
        LABEL_TASK_ID: task.id,
        LABEL_TASK_NAME: task.name,
        LABEL_SERVICE_ID: task.service_id,
        LABEL_SERVICE_NAME: task.service_name,
        LABEL_NODE_ID: node_id,
        LABEL_AGENT: node_id,
    }


def host_ports(task: Task) -> tuple[PortConfig, ...]:
    return tuple(port for port in task.ports if port.publish_mode == "host")


def _host_config(task: Task, spec: ContainerSpec, attachment: Attachment, files: Mapping[str, str]) -> JSON:
    dns = spec.dns_config
    mounts = [_mount(mount) for mount in (*spec.mounts, *attachment.mounts)]
    return _drop_unset(
        {
            "Mounts": [*mounts, *(_file_mount(target, source) for target, source in files.items())],
            "NetworkMode": attachment.endpoints[0].network if attachment.endpoints else attachment.mode,
            "PortBindings": _port_bindings(task),
            # Docker Swarm's rule and ours: a task is never restarted by the engine, it is replaced.
            "RestartPolicy": {"Name": "no"},
            "Init": spec.init,
            "ReadonlyRootfs": spec.read_only,
            "CapAdd": list(spec.capability_add),
            "CapDrop": list(spec.capability_drop),
            "GroupAdd": list(spec.groups),
            "Sysctls": dict(spec.sysctls),
            "Ulimits": [{"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft} for limit in spec.ulimits],
            "OomScoreAdj": spec.oom_score_adj,
            "Isolation": spec.isolation,
            "ExtraHosts": [*_extra_hosts(spec.hosts), *attachment.extra_hosts],
            # A name server of the cluster's asks the task's own ones itself.
            "Dns": list(attachment.dns) or list(dns.nameservers if dns else ()),
            "DnsSearch": list(dns.search) if dns else [],
            "DnsOptions": list(dns.options) if dns else [],
            "LogConfig": _log_config(task.spec.log_driver),
            **_limits(task.spec.resources),
        }
    )


def _drop_unset(fields: Mapping[str, Any]) -> JSON:
    """Leave out what is not set, so that the engine's and the image's defaults hold."""
    return {name: value for name, value in fields.items() if value or (value is False and name == "Init")}


def _limits(resources: Resources | None) -> JSON:
    limits = resources.limits if resources else None
    reservations = resources.reservations if resources else None
    return {
        "NanoCpus": limits.nano_cpus if limits else 0,
        "Memory": limits.memory_bytes if limits else 0,
        "PidsLimit": max(0, limits.pids) if limits else 0,
        "MemoryReservation": reservations.memory_bytes if reservations else 0,
    }


def _log_config(driver: DriverConfig | None) -> JSON | None:
    return {"Type": driver.name, "Config": dict(driver.options)} if driver and driver.name else None


def _mount(mount: Mount) -> JSON:
    # The model leaves out defaults; the engine has none for the type.
    body: JSON = {"Type": mount.type, **msgspec.to_builtins(mount)}
    driver = body.get("VolumeOptions", {}).get("DriverConfig")
    if driver == {}:
        del body["VolumeOptions"]["DriverConfig"]
    return body


def _file_mount(target: str, source: str) -> JSON:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}


def _endpoints(attachment: Attachment) -> JSON:
    return {
        end.network: _drop_unset(
            {
                "Aliases": list(end.aliases),
                "IPAMConfig": _drop_unset({"IPv4Address": end.address, "IPv6Address": end.address6}),
                "DriverOpts": dict(end.driver_opts),
            }
        )
        for end in attachment.endpoints
    }


def _port_key(port: PortConfig) -> str:
    return f"{port.target_port}/{port.protocol}"


def _port_bindings(task: Task) -> JSON:
    bindings: JSON = {}
    for port in host_ports(task):
        binding = {"HostIp": port.host_ip, "HostPort": str(port.published_port or "")}
        bindings.setdefault(_port_key(port), []).append(binding)
    return bindings


def _extra_hosts(hosts: Collection[str]) -> list[str]:
    """Turn `IP name [name…]`, as in /etc/hosts, into the engine's `name:IP`; what has that form already is kept."""
    found = []
    for entry in hosts:
        address, *names = entry.split() or [""]
        found += [f"{name}:{address}" for name in names] or ([entry] if address else [])
    return found


def _generic_env(resources: Collection[GenericResource]) -> list[str]:
    """Tell the program which devices it was given, as Docker Swarm does: DOCKER_RESOURCE_GPU=UUID1,UUID2."""
    values: dict[str, list[str]] = {}
    for resource in resources:
        if named := resource.named_resource_spec:
            values.setdefault(named.kind, []).append(named.value)
        elif discrete := resource.discrete_resource_spec:
            values.setdefault(discrete.kind, []).append(str(discrete.value))
    return [f"DOCKER_RESOURCE_{kind.upper()}={','.join(found)}" for kind, found in values.items()]


# --- privileges, options for the engine, devices ---


def host_config(options: EngineOptions, privileges: Privileges | None, given: Collection[GenericResource]) -> JSON:
    """Write the fields that are set, in the engine's words.

    Args:
        options: of the container's label.
        privileges: of its `ContainerSpec`; options for security come beside them.
        given: the generic resources that the scheduler gave to the task.

    """
    devices = (*options.devices, *_assigned_devices(given, options.devices))
    body: JSON = msgspec.to_builtins(msgspec.structs.replace(options, devices=devices, security_opt=()))
    for name in _NOT_HOST:
        body.pop(name, None)
    for device in body.get("Devices", ()):
        # The model leaves out what is the default; the engine has none.
        device.setdefault("CgroupPermissions", "rwm")
    security = [*security_options(privileges), *(each for each in options.security_opt if each != _ALL_PATHS)]
    if security:
        body["SecurityOpt"] = security
    if _ALL_PATHS in options.security_opt:
        body |= {"MaskedPaths": [], "ReadonlyPaths": []}
    return body


def _assigned_devices(given: Collection[GenericResource], asked: Collection[Device]) -> Iterator[Device]:
    """Yield the devices among the resources that a task was given: those whose name is a path below /dev."""
    known = {device.path_on_host for device in asked}
    for resource in given:
        name = resource.named_resource_spec.value if resource.named_resource_spec else ""
        if name.startswith(_DEVICES) and name not in known:
            yield Device(path_on_host=name, path_in_container=name)


def security_options(privileges: Privileges | None) -> list[str]:
    """Write privileges as the engine's security options (moby `daemon/cluster/executor/container/container.go`)."""
    if privileges is None:
        return []
    options = ["no-new-privileges=true"] if privileges.no_new_privileges else []
    options += _credential_options(privileges) + _selinux_options(privileges)
    if seccomp := privileges.seccomp:
        if seccomp.mode == "unconfined":
            options.append("seccomp=unconfined")
        elif seccomp.mode == "custom":
            options.append(f"seccomp={seccomp.profile.decode()}")
    if privileges.apparmor and privileges.apparmor.mode == "disabled":
        options.append("apparmor=unconfined")
    return options


def _credential_options(privileges: Privileges) -> list[str]:
    credential = privileges.credential_spec
    if credential is None:
        return []
    if credential.file:
        return [f"credentialspec=file://{credential.file}"]
    return [f"credentialspec=registry://{credential.registry}"] if credential.registry else []


def _selinux_options(privileges: Privileges) -> list[str]:
    selinux = privileges.selinux_context
    if selinux is None:
        return []
    if selinux.disable:
        return ["label=disable"]
    parts = {"user": selinux.user, "role": selinux.role, "type": selinux.type, "level": selinux.level}
    return [f"label={name}:{value}" for name, value in parts.items() if value]

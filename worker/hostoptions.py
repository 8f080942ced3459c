"""The part of a container's HostConfig that privileges, options for the engine and devices make. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from common.model.container import Privileges
from common.model.engineoptions import Device, EngineOptions
from common.model.service import GenericResource
from worker.ports import JSON

_DEVICES = "/dev/"
# What `systempaths=unconfined` stands for: nothing of /proc and /sys is hidden or read-only.
_ALL_PATHS = "systempaths=unconfined"
# Of the options, those that belong elsewhere in the request.
_NOT_HOST = ("Domainname", "MacAddress")


def host_config(options: EngineOptions, privileges: Privileges | None, given: Collection[GenericResource]) -> JSON:
    """Write the fields that are set, in the engine's words.

    Args:
        options: of the container's label.
        privileges: of its `ContainerSpec`; options for security come beside them.
        given: the generic resources that the scheduler gave to the task.

    """
    devices = (*options.devices, *_assigned(given, options.devices))
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


def _assigned(given: Collection[GenericResource], asked: Collection[Device]) -> Iterator[Device]:
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

"""What in a request leads from a container to its host, by the words of `--forbid`. Pure.

Each word closes its own ways; docs/security.md has the table. What cannot be told from the request alone, such as what
another container has that this one joins, counts as what it may be.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from common.model.client import Forbidden
from common.model.container import ContainerSpec, Privileges
from common.model.engine_options import options_of
from common.model.service import TaskSpec
from manager.api.errors import invalid

# What Docker gives a container by itself (moby `oci/caps/defaults.go`): to add these is to add nothing.
_DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
        "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
# Tuples, as what is looked for in them may be anything that JSON has.
_OWN_NETWORKS = ("", "default", "bridge", "none", "nat")
# Modes of a container's namespaces that are neither the host's nor another container's.
_OWN_MODES: Mapping[str, Collection[str]] = {
    "pidmode": ("",),
    "ipcmode": ("", "none", "private", "shareable"),
    "utsmode": ("",),
    "usernsmode": ("",),
    "cgroupnsmode": ("", "private"),
}
_SAFE_MOUNTS = ("volume", "tmpfs", "image")
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
# File systems that have nothing of the host's, whatever their device is; `o` must not turn them into a bind mount.
_SAFE_FILE_SYSTEMS = ("tmpfs", "nfs", "nfs4", "cifs", "smb3")
_UNSAFE_FLAGS = frozenset({"bind", "rbind", "move", "remount"})
_CONFINED = re.compile(r"no-new-privileges([=:]true)?|seccomp[=:]builtin|apparmor[=:]docker-default")
_RUNTIMES = ("", "runc")
# Those that write on the host alone, and where they like. Others speak, as the host and from its network, to what they
# are told: its sockets, its own ports, with its credentials.
_LOCAL_LOGS = ("", "none", "json-file", "local", "journald")
# What an engine shows of a container though nobody has asked for it.
_FILLED_IN = frozenset({"LogConfig", "Mounts", "Runtime", "CgroupnsMode", "MaskedPaths", "ReadonlyPaths"})


@dataclass(frozen=True, slots=True)
class Finding:
    """A way to a host that a request asks for: the word for it, and what it is."""

    word: Forbidden
    what: str


def value_of(body: Mapping[str, Any], name: str) -> Any:
    """Return a field as an engine reads it, whose decoder takes keys in any case; `name` is folded.

    Raises:
        EngineError: 400, there are several, of which an engine may take another, or all of them together.

    """
    found = [value for key, value in body.items() if key.casefold() == name]
    if len(found) > 1:
        raise invalid(f"invalid JSON: the key {name!r} is given more than once, in different spellings")
    return found[0] if found else None


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = value_of(body, name)
    return value if isinstance(value, dict) else {}


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = value_of(body, name)
    return value if isinstance(value, list) else [] if value is None else [value]


def in_container(body: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what the body of `POST /containers/create` asks for.

    Engines before 23 take what belongs into `HostConfig` from beside it as well.
    """
    yield from in_host_config(_object(body, "hostconfig"))
    yield from in_host_config(body)
    endpoints = _object(_object(body, "networkingconfig"), "endpointsconfig")
    beside = value_of(body, "networkmode") or ""
    if "host" in endpoints or beside not in _OWN_NETWORKS:
        yield Finding(Forbidden.HOST_NAMESPACES, f"network {beside or 'host'!r}")


def in_host_config(host: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what a `HostConfig` asks for. The body of `POST /containers/{id}/update` has some of its fields."""
    if value_of(host, "privileged") not in (None, False):
        yield Finding(Forbidden.PRIVILEGED, "privileged mode")
    yield from _capabilities(_list(host, "capadd"))
    for name in ("devices", "devicecgrouprules", "devicerequests"):
        if _list(host, name):
            yield Finding(Forbidden.DEVICES, name)
    yield from _namespaces(host)
    yield from _mounts(host)
    yield from _confinement(host)
    for name in ("maskedpaths", "readonlypaths"):
        if value_of(host, name) is not None:
            yield Finding(Forbidden.UNCONFINED, name)
    if (runtime := value_of(host, "runtime")) not in (None, *_RUNTIMES):
        yield Finding(Forbidden.UNCONFINED, f"runtime {runtime!r}")


def in_existing(host: Mapping[str, Any], ours: Collection[str]) -> Iterator[Finding]:
    """Find what a container has, as its engine shows its `HostConfig`; `ours` are sources of mounts that we gave it.

    What an engine fills in by itself counts for nothing.
    """
    mounts = [each for each in _list(host, "mounts") if not (isinstance(each, dict) and each.get("Source") in ours)]
    chosen = {key: value for key, value in host.items() if key not in _FILLED_IN}
    yield from in_host_config({**chosen, "Mounts": mounts})
    if [] in (host.get("MaskedPaths"), host.get("ReadonlyPaths")):
        yield Finding(Forbidden.UNCONFINED, "all of /proc and /sys")


def _capabilities(names: Iterable[Any]) -> Iterator[Finding]:
    for name in names:
        if str(name).upper().removeprefix("CAP_") not in _DEFAULT_CAPABILITIES:
            yield Finding(Forbidden.CAPABILITIES, f"capability {name!r}")


def _namespaces(host: Mapping[str, Any]) -> Iterator[Finding]:
    network = value_of(host, "networkmode") or ""
    if network == "host" or str(network).startswith("container:"):
        yield Finding(Forbidden.HOST_NAMESPACES, f"network {network!r}")
    for name, own in _OWN_MODES.items():
        mode = value_of(host, name) or ""
        if mode not in own:
            yield Finding(Forbidden.HOST_NAMESPACES, f"{name} {mode!r}")
    if (driver := value_of(_object(host, "logconfig"), "type") or "") not in _LOCAL_LOGS:
        yield Finding(Forbidden.HOST_NAMESPACES, f"log driver {driver!r}, which speaks from the host's network")


def _mounts(host: Mapping[str, Any]) -> Iterator[Finding]:
    for bind in _list(host, "binds"):
        source, colon, _ = str(bind).partition(":")
        if colon and not _VOLUME_NAME.fullmatch(source):
            yield Finding(Forbidden.HOST_MOUNTS, f"bind mount {bind!r}")
    for mount in _list(host, "mounts"):
        yield from _mount(mount if isinstance(mount, dict) else {})
    if _list(host, "volumesfrom"):
        yield Finding(Forbidden.HOST_MOUNTS, "mounts of another container")
    if (driver := value_of(host, "volumedriver")) not in (None, "", "local"):
        yield Finding(Forbidden.HOST_MOUNTS, f"volume driver {driver!r}")


def _mount(mount: Mapping[str, Any]) -> Iterator[Finding]:
    kind = value_of(mount, "type")
    if kind not in _SAFE_MOUNTS:
        yield Finding(Forbidden.HOST_MOUNTS, f"mount of type {kind!r}")
    driver = _object(_object(mount, "volumeoptions"), "driverconfig")
    yield from in_driver(value_of(driver, "name"), value_of(driver, "options"))


def in_volume(body: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what the body of `POST /volumes/create` asks for."""
    yield from in_driver(value_of(body, "driver"), value_of(body, "driveropts"))


def in_driver(name: Any, options: Any) -> Iterator[Finding]:
    """Find what a volume's driver is asked for. Options are those of mount(8): `type`, `device`, `o`."""
    if name not in (None, "", "local"):
        yield Finding(Forbidden.HOST_MOUNTS, f"volume driver {name!r}")
    elif options and not _is_safe(options):
        yield Finding(Forbidden.HOST_MOUNTS, "a volume that is more than a folder, tmpfs, NFS or CIFS")


def _is_safe(options: Any) -> bool:
    """Whether a volume with options has nothing of the host's. A template may become anything."""
    if not isinstance(options, dict) or any("{{" in str(value) for value in options.values()):
        return False
    flags = {flag.strip().lower() for flag in str(options.get("o", "")).split(",")}
    return options.get("type") in _SAFE_FILE_SYSTEMS and not flags & _UNSAFE_FLAGS


def _confinement(host: Mapping[str, Any]) -> Iterator[Finding]:
    for option in _list(host, "securityopt"):
        if not _CONFINED.fullmatch(str(option)):
            yield Finding(Forbidden.UNCONFINED, f"security option {option!r}")
    for name in ("cgroupparent", "annotations"):
        if value_of(host, name):
            yield Finding(Forbidden.UNCONFINED, name)


def in_exec(body: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what the body of `POST /containers/{id}/exec` asks for."""
    if value_of(body, "privileged") not in (None, False):
        yield Finding(Forbidden.PRIVILEGED, "privileged mode")


def in_build(query: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Find what the query of `POST /build` asks for, each value of a name that comes several times."""
    for name, value in query:
        if name == "networkmode" and value not in _OWN_NETWORKS:
            yield Finding(Forbidden.HOST_NAMESPACES, f"network {value!r}")
        elif name in {"cgroupparent", "securityopt"} and value:
            yield Finding(Forbidden.UNCONFINED, name)


def in_task(spec: TaskSpec) -> Iterator[Finding]:
    """Find what the tasks of a service have."""
    if any(network.target == "host" for network in spec.networks):
        yield Finding(Forbidden.HOST_NAMESPACES, "network 'host'")
    if spec.log_driver is not None:
        yield from in_host_config({"LogConfig": {"Type": spec.log_driver.name}})
    container = spec.container_spec
    if container is not None:
        yield from in_host_config(_as_host_config(container))


def _as_host_config(container: ContainerSpec) -> dict[str, Any]:
    """Write what of a service's container matters as its engine will be told."""
    options = options_of(container)
    return {
        **msgspec.to_builtins(options),
        "CapAdd": list(container.capability_add),
        "Mounts": [{"Type": mount.type, **msgspec.to_builtins(mount)} for mount in container.mounts],
        "SecurityOpt": [*options.security_opt, *_privilege_options(container.privileges)],
    }


def _privilege_options(privileges: Privileges | None) -> Iterator[str]:
    if privileges is None:
        return
    if privileges.seccomp is not None and privileges.seccomp.mode not in ("", "default"):
        yield f"seccomp={privileges.seccomp.mode}"
    if privileges.apparmor is not None and privileges.apparmor.mode not in ("", "default"):
        yield f"apparmor={privileges.apparmor.mode}"
    if privileges.selinux_context is not None:
        yield "label"
    if privileges.credential_spec is not None:
        yield "credentialspec"

"""What a `ContainerSpec` must fulfil on its own, and its options for the engine (`common.model.engine_options`)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from common.clock import MILLISECOND
from common.errors import InvalidArgument
from common.model.container import ConfigReference, ContainerSpec, HealthConfig, Mount, SecretReference
from common.model.engine_options import ALL_DEVICES, EngineOptions, options_of
from common.model.service import ServiceMode, ServiceSpec
from common.spec import extensions
from manager.api.errors import invalid

MOUNT_TYPES = ("bind", "volume", "tmpfs", "npipe", "cluster")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = (
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
)
_IMAGE = re.compile(
    rf"(?:{_DOMAIN}(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[\w][\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
_MAX_IMAGE = 512
_PROPAGATIONS = ("", "private", "rprivate", "shared", "rshared", "slave", "rslave")
_TEMPLATE = "{{"  # of which only its task knows the path
_ISOLATIONS = ("", "default", "process", "hyperv")


def check_container(spec: ContainerSpec) -> None:
    """Refuse a container that no engine would start.

    Raises:
        InvalidArgument: in the words of the engine's swarm part.
        EngineError: 400; the message names the field and what was expected.

    """
    check_image(spec.image)
    _check_mounts(spec.mounts)
    _check_health(spec.healthcheck)
    _check_targets("secret", spec.secrets)
    _check_targets("config", spec.configs)
    if (spec.stop_grace_period or 0) < 0:
        raise invalid(f"ContainerSpec.StopGracePeriod: expected 0 or more nanoseconds, got {spec.stop_grace_period}")
    if spec.isolation not in _ISOLATIONS:
        raise invalid(f'invalid Isolation: "{spec.isolation}"')
    for ulimit in spec.ulimits:
        if not ulimit.name:
            raise invalid("ContainerSpec.Ulimits.Name: expected a name such as nofile")


def check_image(image: str) -> None:
    """Refuse what cannot be an image reference (distribution's grammar: domain, path, tag, digest)."""
    if not image:
        raise InvalidArgument("ContainerSpec: image reference must be provided")
    if not is_image(image):
        raise InvalidArgument(f'ContainerSpec: "{image[:_MAX_IMAGE]}" is not a valid repository/tag')


def is_image(name: str) -> bool:
    """Whether a text is an image reference."""
    return len(name) <= _MAX_IMAGE and _IMAGE.fullmatch(name) is not None


def _check_mounts(mounts: tuple[Mount, ...]) -> None:
    targets = set()
    for mount in mounts:
        if mount.type not in MOUNT_TYPES:
            raise invalid(f'invalid MountType: "{mount.type}"')
        if not mount.target:
            raise invalid("ContainerSpec.Mounts.Target: expected a path in the container, got none")
        if mount.type != "npipe" and not mount.target.startswith(("/", _TEMPLATE)):
            raise invalid(
                f"ContainerSpec.Mounts.Target: expected an absolute path in the container, got {mount.target[:200]}"
            )
        if not mount.target.strip("/"):
            raise invalid("ContainerSpec.Mounts.Target: expected a path in the container other than /")
        if mount.target in targets:
            raise InvalidArgument(f"ContainerSpec: duplicate mount point: {mount.target}")
        if mount.type == "bind" and not mount.source:
            raise invalid(
                f"ContainerSpec.Mounts.Source: a bind mount ({mount.target}) needs the path of a host directory"
            )
        if mount.bind_options is not None and mount.bind_options.propagation not in _PROPAGATIONS:
            raise invalid(f'invalid MountPropagation: "{mount.bind_options.propagation}"')
        targets.add(mount.target)


def _check_health(health: HealthConfig | None) -> None:
    if health is None:
        return
    durations = {
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
    }
    for name, duration in durations.items():
        if duration and duration < MILLISECOND:
            raise InvalidArgument(f"ContainerSpec: {name} in HealthConfig cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidArgument("ContainerSpec: Retries in HealthConfig cannot be negative")


def _check_targets(noun: str, references: Iterable[SecretReference | ConfigReference]) -> None:
    """Refuse references without a target, and two with the same one."""
    taken: dict[str, str] = {}
    for reference in references:
        name = reference.secret_name if isinstance(reference, SecretReference) else reference.config_name
        if isinstance(reference, ConfigReference) and reference.runtime is not None:
            continue
        if reference.file is None or not reference.file.name:
            raise InvalidArgument(f"malformed {noun} reference, no target provided")
        target = reference.file.name
        if target in taken:
            text = f"{noun} references '{taken[target]}' and '{name}' have a conflicting target: '{target}'"
            raise InvalidArgument(text)
        taken[target] = name


_PERMISSIONS = re.compile(r"(?!.*(.).*\1)[rwm]{1,3}")
_CPUSET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_CGROUP_RULE = re.compile(r"[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_DOMAIN_NAME = re.compile(r"[A-Za-z0-9_]([-\w]{0,61}\w)?(\.[A-Za-z0-9_]([-\w]{0,61}\w)?)*")
_RUNTIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SECURITY = re.compile(r"no-new-privileges(?:[=:](?:true|false))?|systempaths=unconfined|(label|apparmor)[=:].+")
_SECCOMP = re.compile(r"seccomp[=:](unconfined|builtin|\{.*\})", re.DOTALL)
# What each namespace may be. Another container's (`container:ID`) cannot: nobody knows which host that will be on.
_MODES = {
    "pid_mode": ("", "host"),
    "ipc_mode": ("", "none", "private", "shareable", "host"),
    "uts_mode": ("", "host"),
    "userns_mode": ("", "host"),
    "cgroupns_mode": ("", "private", "host"),
}
_WEIGHT = (10, 1000)
_UNLIMITED = -1


def check_engine_options(spec: ServiceSpec) -> None:
    """Refuse options that no engine takes, or that the rest of the specification contradicts.

    Raises:
        InvalidArgument: the message names the label, the field and what was expected.

    """
    container = spec.task_template.container_spec
    if container is None:
        return
    extensions.check_container(container.labels)
    for mount in container.mounts:
        if mount.volume_options is not None:
            extensions.check_volume(mount.volume_options.labels)
    options = options_of(container)
    _check_devices(options)
    _check_requests(options)
    _check_names(options)
    _check_weights(options)
    _check_security(options)
    _check_memory(options, spec)
    if options.uts_mode == "host" and (container.hostname or options.domainname):
        raise _invalid("uts mode", "none with a hostname or domainname, which are the host's then", "both")
    if options.mac_address and not _single(spec.mode):
        raise _invalid("MacAddress", "a service of one replica, as two containers cannot have the same", "more")


def _invalid(name: str, expected: str, got: object) -> InvalidArgument:
    return InvalidArgument(f"label swarm.x.engine: {name}: expected {expected}; got {got}")


def _check_devices(options: EngineOptions) -> None:
    for device in options.devices:
        for path in (device.path_on_host, device.path_in_container):
            if not path.startswith("/"):
                raise _invalid("Devices", "an absolute path on the host and one in the container", repr(path))
        if not _PERMISSIONS.fullmatch(device.cgroup_permissions):
            raise _invalid("Devices.CgroupPermissions", "some of r, w and m", repr(device.cgroup_permissions))
    _check_all("DeviceCgroupRules", options.device_cgroup_rules, _CGROUP_RULE, "a rule such as 'c 188:* rwm'")


def _check_requests(options: EngineOptions) -> None:
    for request in options.device_requests:
        if request.count < ALL_DEVICES:
            raise _invalid("DeviceRequests.Count", "-1 (all), 0 or more", request.count)
        if request.count and request.device_ids:
            raise _invalid("DeviceRequests", "a Count or DeviceIDs", "both")
        if not request.driver and not any(request.capabilities):
            raise _invalid("DeviceRequests", "a Driver or Capabilities, such as [['gpu']]", "neither")


def _check_names(options: EngineOptions) -> None:
    for name, choices in _MODES.items():
        if getattr(options, name) not in choices:
            word = name.removesuffix("_mode")
            raise _invalid(f"{word} mode", " or ".join(filter(None, choices)), repr(getattr(options, name)))
    _check_all("CpusetCpus", filter(None, [options.cpuset_cpus]), _CPUSET, "numbers of CPUs such as 0-2,5")
    _check_all("CpusetMems", filter(None, [options.cpuset_mems]), _CPUSET, "numbers of memory nodes such as 0-1")
    _check_all("Runtime", filter(None, [options.runtime]), _RUNTIME, "the name of a runtime of the engine's")
    _check_all("MacAddress", filter(None, [options.mac_address]), _MAC, "an address such as 02:42:ac:11:65:43")
    _check_all("Domainname", filter(None, [options.domainname]), _DOMAIN_NAME, "a domain such as example.com")


def _check_weights(options: EngineOptions) -> None:
    if options.cpu_shares and options.cpu_shares < 2:
        raise _invalid("CpuShares", "0 (the default) or 2 and more", options.cpu_shares)
    low, high = _WEIGHT
    for weight in (options.blkio_weight, *(each.weight for each in options.blkio_weight_device)):
        if weight and not low <= weight <= high:
            raise _invalid("BlkioWeight", f"0 (the default) or {low} to {high}", weight)
    rated = (
        *options.blkio_device_read_bps,
        *options.blkio_device_write_bps,
        *options.blkio_device_read_iops,
        *options.blkio_device_write_iops,
    )
    for path in (*(each.path for each in options.blkio_weight_device), *(each.path for each in rated)):
        if not path.startswith("/"):
            raise _invalid("Blkio…", "the absolute path of a block device", repr(path))
    if any(each.rate <= 0 for each in rated):
        raise _invalid("BlkioDevice…", "a rate above 0", "0 or less")


def _check_security(options: EngineOptions) -> None:
    for option in options.security_opt:
        if option.startswith("seccomp"):
            if not _SECCOMP.fullmatch(option):
                wanted = "seccomp=unconfined, seccomp=builtin or seccomp= and the profile itself as JSON"
                raise _invalid("SecurityOpt", wanted, repr(option))
        elif not _SECURITY.fullmatch(option):
            wanted = "no-new-privileges, label=…, apparmor=…, seccomp=… or systempaths=unconfined"
            raise _invalid("SecurityOpt", wanted, repr(option))


def _check_memory(options: EngineOptions, spec: ServiceSpec) -> None:
    if options.shm_size < 0:
        raise _invalid("ShmSize", "0 (the default) or more bytes", options.shm_size)
    swappiness = options.memory_swappiness
    if swappiness is not None and not 0 <= swappiness <= 100:
        raise _invalid("MemorySwappiness", "0 to 100", swappiness)
    limits = spec.task_template.resources.limits if spec.task_template.resources else None
    memory = limits.memory_bytes if limits else 0
    swap = options.memory_swap
    if swap and swap != _UNLIMITED and not (0 < memory <= swap):
        raise _invalid("MemorySwap", f"-1 or at least the limit of memory, which is {memory or 'not set'}", swap)


def _check_all(name: str, values: Iterable[str], form: re.Pattern[str], expected: str) -> None:
    for value in values:
        if not form.fullmatch(value):
            raise _invalid(name, expected, repr(value))


def _single(mode: ServiceMode) -> bool:
    """Whether the service never has two tasks by its own specification."""
    at_once = mode.replicated_job.at_once if mode.replicated_job is not None else mode.replicas
    return not mode.is_global and at_once <= 1

"""What a `ContainerSpec` must fulfil on its own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from common.clock import MILLISECOND
from common.errors import InvalidArgument
from common.model.container import ConfigReference, ContainerSpec, HealthConfig, Mount, SecretReference
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

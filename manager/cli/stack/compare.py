"""What a deploy would change, worked out beforehand: a pure comparison of what is there with what the files say.

Specifications are compared as the API writes them, flattened to one value a path, what means the default left out: a
default that somebody wrote down is not a change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from common.clock import SECOND
from common.model.container import DEFAULT_STOP_GRACE
from common.model.service import EXTENSION_PREFIX, ServiceSpec
from common.spec import extensions
from manager.cli.codec import to_json

Flat: TypeAlias = dict[str, Any]

CREATE, CHANGE, REMOVE = "+", "~", "-"

_TEMPLATE = "TaskTemplate."
_PLACEMENT = "TaskTemplate.Placement."
_CONTAINER = "TaskTemplate.ContainerSpec."
# What is meant where nothing is said, by path; `*` stands for one part of it.
_DEFAULTS: Mapping[str, Any] = {
    "Mode.Replicated.Replicas": 1,
    "EndpointSpec.Mode": "vip",
    "TaskTemplate.Runtime": "container",
    f"{_CONTAINER}Isolation": "default",
    f"{_CONTAINER}StopGracePeriod": DEFAULT_STOP_GRACE,
    "TaskTemplate.RestartPolicy.Condition": "any",
    "TaskTemplate.RestartPolicy.Delay": 5 * SECOND,
    "EndpointSpec.Ports.*.Protocol": "tcp",
    "EndpointSpec.Ports.*.PublishMode": "ingress",
    f"{_CONTAINER}Mounts.*.Type": "volume",
    f"{_CONTAINER}Secrets.*.File.UID": "0",
    f"{_CONTAINER}Secrets.*.File.GID": "0",
    f"{_CONTAINER}Secrets.*.File.Mode": 0o444,
    f"{_CONTAINER}Configs.*.File.UID": "0",
    f"{_CONTAINER}Configs.*.File.GID": "0",
    f"{_CONTAINER}Configs.*.File.Mode": 0o444,
    **{
        f"{config}.{key}": value
        for config in ("UpdateConfig", "RollbackConfig")
        for key, value in (
            ("Parallelism", 1),
            ("FailureAction", "pause"),
            ("Monitor", 5 * SECOND),
            ("Order", "stop-first"),
        )
    },
}
# Numbers of which 0 is said on purpose.
_ZERO_COUNTS = ("Mode.Replicated.Replicas", "UpdateConfig.Parallelism", "RollbackConfig.Parallelism")
# Lists whose items have an identity, by the keys that make it; and those whose order means nothing.
_IDENTITY: Mapping[str, tuple[str, ...]] = {
    "EndpointSpec.Ports": ("PublishedPort", "TargetPort", "Protocol"),
    f"{_CONTAINER}Mounts": ("Target",),
    f"{_CONTAINER}Ulimits": ("Name",),
    "TaskTemplate.Networks": ("Target",),
    "TaskTemplate.Resources.Reservations.GenericResources": (),
}
_FILES = (f"{_CONTAINER}Secrets", f"{_CONTAINER}Configs")
_UNORDERED = (
    f"{_CONTAINER}CapabilityAdd",
    f"{_CONTAINER}CapabilityDrop",
    f"{_CONTAINER}Groups",
    "TaskTemplate.Placement.Constraints",
    "TaskTemplate.Networks.*.Aliases",
)
# Free-form maps: their keys may hold dots, and their values are text of which nothing is a default.
_MAPS = ("Labels", f"{_CONTAINER}Labels", f"{_CONTAINER}Sysctls", "TaskTemplate.LogDriver.Options")


@dataclass(frozen=True, slots=True)
class Field:
    """One value that changes; None stands for nothing."""

    path: str
    old: Any
    new: Any

    @property
    def restarts(self) -> bool:
        """Whether a change replaces tasks. One of placement alone moves only those that no longer fit."""
        if self.path.startswith("EndpointSpec.Ports."):
            return self.path.split(".")[2].endswith("/host")
        return self.path.startswith(_TEMPLATE) and not self.path.startswith(_PLACEMENT)

    @property
    def is_file(self) -> bool:
        """Whether it is which secret or config there is in a place, and not the place."""
        there = self.old is not None and self.new is not None
        return there and self.path.startswith(_FILES) and self.path.endswith((".SecretName", ".ConfigName"))

    def __str__(self) -> str:
        return f"{self.path}: {_format_value(self.old)} → {_format_value(self.new)}"


@dataclass(frozen=True, slots=True)
class Step:
    """One object that a deploy creates, changes or removes (`sign`), what of it, and a remark such as `restarts`."""

    sign: str
    kind: str
    name: str
    fields: tuple[Field, ...] = ()
    remark: str = ""

    def __str__(self) -> str:
        head = f"{self.sign} {self.kind} {self.name}" + (f": {self.remark}" if self.remark else "")
        return "\n".join([head, *(f"    {field}" for field in self.fields)])


def compare_services(
    name: str, present: ServiceSpec, wanted: ServiceSpec, networks: Mapping[str, str], renewed: frozenset[str]
) -> Step | None:
    """Compare a service as it is with what would be sent; None when nothing changes.

    `networks` gives the names of networks by id, `renewed` the secrets and configs that get new content.
    """
    fields = tuple(differences(flat(present, networks), flat(wanted, networks)))
    container = wanted.task_template.container_spec
    assert container is not None, "every service of a stack has a container"
    secrets = (f"secret {each.secret_name}" for each in container.secrets)
    configs = (f"config {each.config_name}" for each in container.configs)
    fresh = [used for used in (*secrets, *configs) if used in renewed]
    if not fields and not fresh:
        return None
    changed = [field for field in fields if field.restarts]
    on_rotate = extensions.read(wanted.labels).on_rotate
    effect = "restarts its tasks"
    if on_rotate != "restart" and all(field.is_file for field in changed):
        effect = "changes files of its running tasks" + (f" and sends {on_rotate[7:]}" if on_rotate != "file" else "")
    why = f" for the new content of {', '.join(fresh)}" if fresh else ""
    return Step(CHANGE, "service", name, fields, f"{effect}{why}" if fresh or changed else "restarts no task")


def compare_labels(kind: str, name: str, present: Any, wanted: Mapping[str, str], content: bool | None) -> Step | None:
    """Compare a secret or config; `content` says whether that changes, None that it cannot be told."""
    old = {key: value for key, value in (present or {}).items() if not key.startswith(EXTENSION_PREFIX)}
    fields = tuple(differences(_with_prefix("Labels", old), _with_prefix("Labels", dict(wanted))))
    if content:
        return Step(CHANGE, kind, name, fields, "new content")
    if not fields:
        return None
    return Step(CHANGE, kind, name, fields)


def differences(old: Flat, new: Flat) -> Iterator[Field]:
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            yield Field(path, old.get(path), new.get(path))


def flat(spec: ServiceSpec, networks: Mapping[str, str]) -> Flat:
    """Write a specification as one value a path, without its name and without defaults."""
    tree = to_json(spec)
    tree.pop("Name", None)
    template = tree.get("TaskTemplate", {})
    template["Networks"] = [
        {**each, "Target": networks.get(each["Target"], each["Target"])}
        for each in template.get("Networks") or tree.get("Networks") or []
    ]
    tree.pop("Networks", None)
    container = template.get("ContainerSpec", {})
    # The id of a config, which is among `Configs` by its name as well.
    ((container.get("Privileges") or {}).get("CredentialSpec") or {}).pop("Config", None)
    if "Env" in container:
        container["Env"] = {key: value for key, _, value in (each.partition("=") for each in container["Env"])}
    for path in _FILES:
        _simplify_files(container, path.rpartition(".")[2])
    return {path: value for path, value in _walk("", "", tree) if not _is_default(path, value)}


def _simplify_files(container: dict[str, Any], key: str) -> None:
    """Name files by their target; the id is the manager's, and follows from the name."""
    name, object_id = f"{key[:-1]}Name", f"{key[:-1]}ID"
    files = container.pop(key, [])
    container[key] = {
        (each.get("File") or {}).get("Name") or each[name]: {k: v for k, v in each.items() if k != object_id}
        for each in files
    }


def _walk(path: str, pattern: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves with their paths. `pattern` is the path with `*` for what a user named."""
    if isinstance(value, dict):
        free = pattern in (*_MAPS, *_FILES, f"{_CONTAINER}Env")
        for key, item in value.items():
            yield from _walk(_join(path, key), _join(pattern, "*" if free else key), item)
    elif isinstance(value, list) and pattern in _IDENTITY and value:
        for item in value:
            yield from _walk(_join(path, _identity(item, _IDENTITY[pattern])), _join(pattern, "*"), item)
    elif isinstance(value, list):
        yield path, sorted(value) if pattern in _UNORDERED else value
    else:
        yield path, value


def _identity(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    if not keys:
        return json.dumps(item, sort_keys=True)
    if "TargetPort" in keys:
        mode = "/host" if item.get("PublishMode") == "host" else ""
        return f"{item.get('PublishedPort', 0)}:{item['TargetPort']}/{item.get('Protocol', 'tcp')}{mode}"
    return "/".join(str(item.get(key, "")) for key in keys)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _is_default(path: str, value: Any) -> bool:
    if path in _ZERO_COUNTS:
        return bool(value == _DEFAULTS[path])
    if path.startswith(tuple(f"{each}." for each in (*_MAPS, f"{_CONTAINER}Env"))):
        return False
    if value in (None, "", 0, False, [], {}):
        return True
    parts = path.split(".")
    return any(_fits(pattern, parts) and value == default for pattern, default in _DEFAULTS.items())


def _fits(pattern: str, parts: list[str]) -> bool:
    """Whether a path has a pattern's first and last parts, whatever a user's name in the middle holds."""
    before, star, after = pattern.partition(".*.")
    path = ".".join(parts)
    return path == pattern if not star else path.startswith(f"{before}.") and path.endswith(f".{after}")


def _with_prefix(prefix: str, values: Mapping[str, Any]) -> Flat:
    return {f"{prefix}.{key}": value for key, value in values.items()}


def _format_value(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)

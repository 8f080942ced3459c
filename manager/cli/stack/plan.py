"""What a deploy would change, worked out beforehand: a pure comparison of what is there with what the files say.

Specifications are compared as the API writes them, flattened to one value a path, what means the default left out: a
default that somebody wrote down is not a change.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import click

from common.clock import SECOND
from common.model.container import DEFAULT_STOP_GRACE
from common.model.service import EXTENSION_PREFIX, ServiceSpec
from common.spec import autoscale, extensions
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.codec import to_json
from manager.cli.compose import Stack
from manager.cli.files import digest
from manager.cli.image.pins import Pins
from manager.cli.stack.deploy import Manners, check_external, find_targets, of_stack, present_file, send, service_order

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
        """Whether tasks are replaced for it. A change of placement alone moves those that do not fit any more."""
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
    how = "restarts its tasks"
    if on_rotate != "restart" and all(field.is_file for field in changed):
        how = "changes files of its running tasks" + (f" and sends {on_rotate[7:]}" if on_rotate != "file" else "")
    why = f" for the new content of {', '.join(fresh)}" if fresh else ""
    return Step(CHANGE, "service", name, fields, f"{how}{why}" if fresh or changed else "restarts no task")


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


# `stack plan` and `stack deploy --dry-run`: ask what is there, compare, print; nothing is changed.


# The exit code when a deploy would change something.
CHANGES_EXIT = 2


async def show_plan(client: Client, stack: Stack, manners: Manners) -> None:
    """Print what a deploy of the stack would do.

    Raises:
        click.exceptions.Exit: with `CHANGES_EXIT`, it would change something.

    """
    steps = await plan(client, stack, manners)
    for step in steps:
        echo(str(step))
    echo(summary(steps))
    if steps:
        raise click.exceptions.Exit(CHANGES_EXIT)


def summary(steps: list[Step]) -> str:
    """Say in one line how much changes."""
    if not steps:
        return "No changes: the stack is as the files say."
    counts = Counter(step.sign for step in steps)
    return f"Plan: {counts[CREATE]} to create, {counts[CHANGE]} to change, {counts[REMOVE]} to remove."


async def plan(client: Client, stack: Stack, manners: Manners) -> list[Step]:
    """Return what a deploy would do, in its order.

    Raises:
        CommandFailed: the deploy would be refused.

    """
    await check_external(client, stack)
    targets = await find_targets(client, stack, manners)
    async with Pins(client, [each.spec for each in targets if each.present and each.resolve], manners.tell) as pins:
        pinned = [await pins.pinned(each.spec) if each.present and each.resolve else each.spec for each in targets]
    orders = [service_order(spec, each.present) for spec, each in zip(pinned, targets, strict=True)]
    await send(client, stack, orders, manners, dry_run=True)
    services = {each["Spec"]["Name"]: each for each in await client.get("/services", of_stack(stack.name))}
    networks = {each["Id"]: each["Name"] for each in await client.get("/networks")}
    steps = list(_pruned_services(services, stack)) if manners.prune else []
    ours = {each["Name"] for each in await client.get("/networks", of_stack(stack.name))}
    steps += [Step(CREATE, "network", name) for name in stack.networks if name not in ours]
    for kind, specs in (("secret", stack.secrets), ("config", stack.configs)):
        steps += [step for name in specs if (step := await _file(client, kind, specs[name], manners))]
    renewed = frozenset(f"{step.kind} {step.name}" for step in steps if step.remark == "new content")
    for spec, each in zip(pinned, targets, strict=True):
        if each.present is None:
            steps.append(Step(CREATE, "service", spec.name, remark=_describe_spec(spec)))
        elif step := compare_services(spec.name, each.present.spec, spec, networks, renewed):
            steps.append(step)
    return steps


def _pruned_services(services: Mapping[str, Any], stack: Stack) -> Iterator[Step]:
    wanted = {spec.name for spec in stack.services.values()}
    return (Step(REMOVE, "service", name, remark="stops its tasks") for name in services if name not in wanted)


async def _file(client: Client, kind: str, spec: Any, manners: Manners) -> Step | None:
    present = await present_file(client, kind, spec.name)
    if present is None:
        return Step(CREATE, kind, spec.name)
    changes = _content_changes(kind, present["Spec"], spec, manners)
    return compare_labels(kind, spec.name, present["Spec"].get("Labels"), spec.labels, changes)


def _content_changes(kind: str, present: Mapping[str, Any], spec: Any, manners: Manners) -> bool | None:
    """Whether the content changes: of a secret by its digest. None, and a warning, when it has none."""
    driver = spec.templating.name if spec.templating is not None else ""
    if (present.get("Templating") or {}).get("Name", "") != driver:
        return True
    if kind == "config":
        return base64.b64decode(present.get("Data", "")) != bytes(spec.data)
    known = (present.get("Labels") or {}).get(digest.LABEL)
    if known is None:
        manners.tell(f"secret {spec.name}: made by another client, so it is not known whether its content changes")
        return None
    return not digest.matches(known, spec.data)


def _describe_spec(spec: ServiceSpec) -> str:
    container = spec.task_template.container_spec
    image = container.image if container is not None else ""
    mode = spec.mode.replicated
    if (policy := autoscale.of(spec)) is not None and mode is not None and mode.replicas is None:
        return f"{image}, {policy.minimum} to {policy.maximum} replicas"
    if mode is None:
        return image
    count = 1 if mode.replicas is None else mode.replicas
    return f"{image}, {count} replica{'' if count == 1 else 's'}"

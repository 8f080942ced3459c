"""What a file says beyond the Docker API, `depends_on` and `x-swarm-` keys, as labels of `common.spec.extensions`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from common.model.service import EXTENSION_PREFIX
from common.model.update import Condition
from common.spec import extensions, start_order
from manager.cli.compose.config import Config, Tree, locate
from manager.cli.compose.convert_deploy import restart_policy
from manager.cli.compose.errors import KeyPath, Problem, format_path
from manager.cli.compose.references import Scope
from manager.cli.compose.scalars import text_of

KEY_PREFIX = "x-swarm-"
_CONDITIONS = {
    "service_started": Condition.STARTED,
    "service_healthy": Condition.HEALTHY,
    "service_completed_successfully": Condition.COMPLETED,
}


def extension_labels(scope: Scope, name: str, service: Tree) -> dict[str, str]:
    """Make the labels of a service's extensions.

    A key or value that is not understood is a problem, and so is a dependency that never completes.
    """
    at: KeyPath = ("services", name)
    labels = {}
    for key in service:
        if key.startswith(KEY_PREFIX):
            with scope.collecting():
                label, text = _extension(scope, (*at, key), key.removeprefix(KEY_PREFIX), service[key])
                labels[label] = text
    with scope.collecting():
        wanted = _dependencies(scope, at, service)
        if wanted:
            label = f"{EXTENSION_PREFIX}depends-on"
            labels[label] = ",".join(f"{scope.full(other)}={condition.value}" for other, condition in wanted.items())
    return labels


def volume_labels(scope: Scope, name: str, volume: Tree) -> dict[str, str]:
    """Make the labels of a top-level volume's extensions; errors as `extension_labels`."""
    return _labels_of(scope, ("volumes", name), volume, extensions.VOLUME)


def mount_labels(scope: Scope, at: KeyPath, entry: Tree) -> dict[str, str]:
    """Make the labels of the extensions of one mount of a named volume; errors as `extension_labels`."""
    return _labels_of(scope, at, entry, extensions.MOUNT)


def _labels_of(scope: Scope, at: KeyPath, tree: Tree, table: tuple[extensions.Extension, ...]) -> dict[str, str]:
    keys = (key for key in tree if key.startswith(KEY_PREFIX))
    return dict(_extension(scope, (*at, key), key.removeprefix(KEY_PREFIX), tree[key], table) for key in keys)


def _extension(
    scope: Scope,
    path: KeyPath,
    name: str,
    value: Any,
    table: tuple[extensions.Extension, ...] = extensions.SERVICE,
) -> tuple[str, str]:
    config = scope.config
    try:
        extension = extensions.find_extension(name, table)
    except ValueError as error:
        raise config.error(path, f"unknown extension; {error}") from None
    if extension.instead:
        raise config.error(path, f"write {extension.instead} instead")
    text = _full_names(scope, _text(value)) if extension.names else _text(value)
    try:
        extension.parse(text)
    except ValueError as error:
        raise config.error(path, f"expected {error}; got {text!r}") from None
    return extension.label, text


def _full_names(scope: Scope, text: str) -> str:
    """Name in full the services of the file in `db=2,cache`; others are taken for full names."""
    pairs = (item.strip().partition("=") for item in text.split(","))
    full = ((scope.full(name) if name in scope.config.services else name, *rest) for name, *rest in pairs)
    return ",".join("".join(parts) for parts in full)


def _text(value: Any) -> str:
    """Write a value as a label's text: lists and mappings as `a,b` and `a=1,b=2`."""
    if isinstance(value, dict):
        return ",".join(f"{key}={_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return "" if value is None else text_of(value)


def _dependencies(scope: Scope, at: KeyPath, service: Tree) -> dict[str, Condition]:
    given = service.get("depends_on", {})
    long: Tree = given if isinstance(given, dict) else {name: {} for name in given}
    return {
        name: _condition(scope, (*at, "depends_on", name), name, entry)
        for name, entry in long.items()
        if name in scope.config.services
    }


def _condition(scope: Scope, path: KeyPath, name: str, entry: Tree) -> Condition:
    condition = _CONDITIONS[entry.get("condition", "service_started")]
    if condition is Condition.COMPLETED and not _ends(scope, name):
        raise scope.config.error(
            path,
            f"the service {name} never completes: it is restarted whenever it ends: "
            f'give {name} "deploy.restart_policy.condition: none" (or on-failure), or a job\'s mode',
        )
    if condition is Condition.HEALTHY and _is_job(scope.config.services[name]):
        raise scope.config.error(
            path, f"the service {name} is a job, which is never healthy: use service_completed_successfully"
        )
    return condition


def _is_job(service: Tree) -> bool:
    return str(service.get("deploy", {}).get("mode", "")).endswith("-job")


def _ends(scope: Scope, name: str) -> bool:
    service = scope.config.services[name]
    policy = restart_policy(scope, ("services", name), service)
    return _is_job(service) or (policy is not None and policy.condition != "any")


def check_extensions(config: Config) -> None:
    """Refuse `x-swarm-` keys where none has a meaning, and services that depend on each other in a cycle."""
    for key in config.extensions:
        _refuse(config, (key,))
    for section, entries in config.sections.items():
        known = {KEY_PREFIX + each.name for each in extensions.VOLUME} if section == "volumes" else set()
        for name, entry in entries.items() if section != "services" else ():
            for key in entry or ():
                if key not in known:
                    _refuse(config, (section, name, key))
    graph = {name: tuple(service.get("depends_on", ())) for name, service in config.services.items()}
    if found := start_order.any_cycle(graph):
        told = start_order.format_cycle(found)
        raise config.error(
            ("services", found[0], "depends_on"), f"these services depend on each other in a cycle: {told}"
        )


def _refuse(config: Config, path: KeyPath) -> None:
    if str(path[-1]).startswith(KEY_PREFIX):
        raise config.error(path, "unknown extension: there is none here; those of services are in docs/extensions.md")


def dependency_warnings(config: Config) -> tuple[str, ...]:
    """Say which parts of `depends_on` have no effect: that on a service that is not there is ignored, as in Docker."""
    return tuple(warning for name in config.services for warning in _ineffective(config, name))


def _ineffective(config: Config, name: str) -> Iterator[str]:
    given = config.services[name].get("depends_on", {})
    for other in given:
        entry = given[other] if isinstance(given, dict) else {}
        path: KeyPath = ("services", name, "depends_on", other)
        if other not in config.services and entry.get("required", True):
            left_out = f"the service {other} is not deployed, as its profile is not chosen"
            unknown = f"the files have no service {other}"
            message = f"has no effect: {left_out if other in config.skipped else unknown}"
            yield str(Problem(message, path, locate(config.positions, path)))
        elif entry.get("restart"):
            yield f"{format_path((*path, 'restart'))} has no effect: an update of {other} does not restart {name}"

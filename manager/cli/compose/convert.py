"""From a loaded configuration to what `docker stack deploy` creates: names, labels and specifications.

The rules are those of Docker's command line (docker/cli, `cli/compose/convert`): everything is named `STACK_name`
unless it has a `name` of its own, carries the stack's label, and a network is made only when a service uses it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.model.container import DriverConfig
from common.model.network import IpamConfig, IpamOptions, NetworkSpec
from common.model.secret import MAX_CONFIG_BYTES, MAX_SECRET_BYTES, ConfigSpec, SecretSpec
from common.model.service import ServiceSpec
from manager.cli.compose.config import Config, Reader, Tree
from manager.cli.compose.convert_extensions import check_extensions, dependency_warnings
from manager.cli.compose.convert_service import convert_service
from manager.cli.compose.errors import ComposeError, Problem
from manager.cli.compose.references import DEFAULT_NETWORK, Scope, is_user_defined

_STACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OVERLAY = "overlay"


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything of one stack. Services are keyed by their name in the file, the rest by full name.

    `networks`, `secrets` and `configs` are to be created; `external_networks` must be there already, with swarm scope.
    """

    name: str
    services: Mapping[str, ServiceSpec]
    networks: Mapping[str, NetworkSpec] = field(default_factory=dict)
    external_networks: tuple[str, ...] = ()
    secrets: Mapping[str, SecretSpec] = field(default_factory=dict)
    configs: Mapping[str, ConfigSpec] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def convert(config: Config, stack: str, read: Reader) -> Stack:
    """Make the stack `stack` of a configuration; `read` gives the content of secrets and configs.

    Raises `ComposeError`: a reference to something that is not declared, a file that cannot be read, a bad stack name.
    """
    if not _STACK_NAME.fullmatch(stack):
        raise ComposeError(
            [Problem(f'"{stack}" is not a stack name: letters, digits, "_", "." and "-", a letter or digit first')]
        )
    check_extensions(config)
    scope = Scope(stack, config)
    used = _networks_in_use(config)
    services, secrets, configs = _services(scope), _secrets(scope, read), _configs(scope, read)
    if scope.problems:
        raise ComposeError(sorted(scope.problems, key=_place))
    external = {config.networks[name]["name"] for name in used if _is_external(config.networks.get(name))}
    return Stack(
        name=stack,
        services=services,
        networks=dict(_network(scope, name) for name in sorted(used) if not _is_external(config.networks.get(name))),
        external_networks=tuple(sorted(name for name in external if is_user_defined(name))),
        secrets={spec.name: spec for spec in secrets},
        configs={spec.name: spec for spec in configs},
        warnings=(*config.warnings, *dependency_warnings(config)),
    )


def _place(problem: Problem) -> tuple[str, int, int]:
    where = problem.position
    return (where.file, where.line, where.column) if where else ("", 0, 0)


def _services(scope: Scope) -> dict[str, ServiceSpec]:
    made: dict[str, ServiceSpec] = {}
    for name, service in scope.config.services.items():
        with scope.collecting():
            made[name] = convert_service(scope, name, service)
    return made


def _networks_in_use(config: Config) -> set[str]:
    return {name for service in config.services.values() for name in service.get("networks") or {DEFAULT_NETWORK: None}}


def _is_external(entry: Tree | None) -> bool:
    return bool(entry and entry.get("external"))


def _network(scope: Scope, name: str) -> tuple[str, NetworkSpec]:
    entry = scope.config.networks.get(name, {})
    full_name = scope.network(name)
    ipam = entry.get("ipam", {})
    spec = NetworkSpec(
        name=full_name,
        labels=scope.labels(entry),
        driver=DriverConfig(name=entry.get("driver", _OVERLAY), options=entry.get("driver_opts", {})),
        ipv6_enabled=entry.get("enable_ipv6", False),
        internal=entry.get("internal", False),
        attachable=entry.get("attachable", False),
        ipam=IpamOptions(
            driver=DriverConfig(name=ipam.get("driver", "")),
            configs=tuple(IpamConfig(subnet=pool.get("subnet", "")) for pool in ipam.get("config", [])),
        ),
    )
    return full_name, spec


def _secrets(scope: Scope, read: Reader) -> list[SecretSpec]:
    specs = []
    for name, entry in scope.config.secrets.items():
        if _is_external(entry):
            continue
        driver = entry.get("driver")
        spec = SecretSpec(
            name=scope.declared("secrets", name),
            labels=scope.labels(entry),
            data=b"" if driver else _content(scope, "secrets", name, read, MAX_SECRET_BYTES),
            driver=DriverConfig(name=driver, options=entry.get("driver_opts", {})) if driver else None,
            templating=_templating(entry),
        )
        specs.append(spec)
    return specs


def _configs(scope: Scope, read: Reader) -> list[ConfigSpec]:
    return [
        ConfigSpec(
            name=scope.declared("configs", name),
            labels=scope.labels(entry),
            data=_content(scope, "configs", name, read, MAX_CONFIG_BYTES),
            templating=_templating(entry),
        )
        for name, entry in scope.config.configs.items()
        if not _is_external(entry)
    ]


def _templating(entry: Tree) -> DriverConfig | None:
    driver = entry.get("template_driver")
    return DriverConfig(name=driver) if driver else None


def _content(scope: Scope, section: str, name: str, read: Reader, limit: int) -> bytes:
    try:
        return _read_content(scope, section, name, read, limit)
    except ComposeError as error:
        scope.problems.extend(error.problems)
        return b""


def _read_content(scope: Scope, section: str, name: str, read: Reader, limit: int) -> bytes:
    entry = scope.config.sections[section][name]
    if "environment" in entry:
        path, source = (section, name, "environment"), f"the variable {entry['environment']}"
        content = scope.config.variables[entry["environment"]].encode()
    elif "content" in entry:
        path, source = (section, name, "content"), "content"
        content = entry["content"].encode()
    else:
        path, source = (section, name, "file"), entry["file"]
        try:
            content = read(source)
        except OSError as error:
            raise scope.config.error(path, f"cannot read {source}: {error.strerror or error}") from error
    if not 0 < len(content) < limit:
        kind = section.removesuffix("s")
        raise scope.config.error(
            path, f"{source} has {len(content)} bytes; a {kind} has at least 1 and less than {limit}"
        )
    return content

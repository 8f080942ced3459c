"""Filling the ids of secrets and configs into a specification that names them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from common.errors import NotFound
from common.model.container import ConfigReference, ContainerSpec, Privileges, SecretReference
from common.model.service import ServiceSpec


def with_ids(spec: ServiceSpec, secret_ids: Mapping[str, str], config_ids: Mapping[str, str]) -> ServiceSpec:
    """Complete a converted specification; the mappings go from full name to id.

    Raises `NotFound`, with the engine's words, for a name that a mapping lacks: an external object that nobody made.
    """
    container = spec.task_template.container_spec or ContainerSpec()
    completed = replace(
        container,
        secrets=tuple(_secret(reference, secret_ids) for reference in container.secrets),
        configs=tuple(_config(reference, config_ids) for reference in container.configs),
        privileges=_credential(container, config_ids),
    )
    return replace(spec, task_template=replace(spec.task_template, container_spec=completed))


def _secret(reference: SecretReference, ids: Mapping[str, str]) -> SecretReference:
    return replace(reference, secret_id=_id("secret", reference.secret_name, ids))


def _config(reference: ConfigReference, ids: Mapping[str, str]) -> ConfigReference:
    return replace(reference, config_id=_id("config", reference.config_name, ids))


def _credential(container: ContainerSpec, ids: Mapping[str, str]) -> Privileges | None:
    privileges = container.privileges
    if privileges is None or privileges.credential_spec is None or not privileges.credential_spec.config:
        return privileges
    spec = privileges.credential_spec
    return replace(privileges, credential_spec=replace(spec, config=_id("config", spec.config, ids)))


def _id(kind: str, name: str, ids: Mapping[str, str]) -> str:
    if name not in ids:
        raise NotFound(f"{kind} not found: {name}")
    return ids[name]

"""What a specification refers to by id must exist, and must go together. Pure.

A specification that names secrets and configs gets their ids filled in. A secret's content never changes. New content
is a new object that takes over the name; the object before it is kept as `NAME.vN` while something needs it
(`manager.orchestrate.update.rotation`): so references are renamed here, and brought to the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from common.errors import FailedPrecondition, InvalidArgument, NotFound
from common.model import Config, Secret
from common.model.container import ConfigReference, ContainerSpec, CredentialSpec, Privileges, SecretReference
from common.model.service import EXTENSION_PREFIX, NetworkAttachmentConfig, ServiceSpec
from common.net.engine_networks import PREDEFINED_NETWORKS
from manager.store.view import NamedTableView, View

VERSION = f"{EXTENSION_PREFIX}version"
VERSION_OF = f"{EXTENSION_PREFIX}version-of"
# Labels of secrets and configs that are the manager's own.
MANAGED = (VERSION, VERSION_OF)
File: TypeAlias = Secret | Config
Rename: TypeAlias = Callable[[str], str]


def check_references(spec: ServiceSpec, view: View) -> None:
    """Refuse a specification, with ids of networks, secrets and configs, that refers to what there is not.

    Raises:
        InvalidArgument: names what is missing, or what cannot be together.

    """
    if spec.task_template.container_spec is not None:
        check_files(spec.task_template.container_spec, view)
    attachments = spec.attachments
    for attachment in attachments:
        _check_network(attachment, view)
    _check_predefined(attachments, spec)


def _check_network(attachment: NetworkAttachmentConfig, view: View) -> None:
    if attachment.target in PREDEFINED_NETWORKS:
        return
    network = view.networks.get(attachment.target)
    if network is None:
        raise InvalidArgument(f"network {attachment.target} does not exist")
    if network.spec.ingress:
        raise InvalidArgument(f"network {network.name} is the ingress network: a service cannot be attached to it")


def _check_predefined(attachments: Collection[NetworkAttachmentConfig], spec: ServiceSpec) -> None:
    """Refuse what an engine's own network cannot be together with."""
    for name in (each.target for each in attachments if each.target in PREDEFINED_NETWORKS):
        if len(attachments) > 1:
            raise InvalidArgument(f"network {name} is local to each node: a service attached to it can have no other")
        if spec.endpoint_spec is not None and any(p.publish_mode == "ingress" for p in spec.endpoint_spec.ports):
            raise InvalidArgument(
                f"network {name} is local to each node, and the routing mesh does not lead there: "
                "publish the ports with mode=host, or leave the network out"
            )


# --- secrets and configs ---


def is_old(file: File) -> bool:
    """Whether a later version has the name now."""
    return VERSION_OF in file.spec.labels


def references(spec: ServiceSpec) -> frozenset[str]:
    """Return the ids of the secrets and configs that a service's tasks get."""
    return container_references(spec.task_template.container_spec)


def container_references(container: ContainerSpec | None) -> frozenset[str]:
    if container is None or not (container.secrets or container.configs):
        return frozenset()
    secrets = (reference.secret_id for reference in container.secrets)
    return frozenset((*secrets, *(reference.config_id for reference in container.configs)))


def rename_references(container: ContainerSpec, rename: Rename) -> ContainerSpec:
    """Return a container with another object for each secret and config; `rename` maps ids."""
    return msgspec.structs.replace(
        container,
        secrets=tuple(_secret(each, rename) for each in container.secrets),
        configs=tuple(_config(each, rename) for each in container.configs),
        privileges=_privileges(container.privileges, rename),
    )


def _secret(reference: SecretReference, rename: Rename) -> SecretReference:
    return msgspec.structs.replace(reference, secret_id=rename(reference.secret_id))


def _config(reference: ConfigReference, rename: Rename) -> ConfigReference:
    return msgspec.structs.replace(reference, config_id=rename(reference.config_id))


def _privileges(privileges: Privileges | None, rename: Rename) -> Privileges | None:
    credential = privileges.credential_spec if privileges is not None else None
    if privileges is None or credential is None or not credential.config:
        return privileges
    changed: CredentialSpec = msgspec.structs.replace(credential, config=rename(credential.config))
    return msgspec.structs.replace(privileges, credential_spec=changed)


def with_newest_files(spec: ServiceSpec, view: View) -> ServiceSpec:
    """Return a past specification with the newest content in place of versions that are gone.

    Raises:
        FailedPrecondition: an object that it needs no longer exists.

    """
    container = spec.task_template.container_spec
    if container is None:
        return spec
    wanted: list[tuple[NamedTableView[Secret] | NamedTableView[Config], str, str, str]] = [
        *((view.secrets, "secret", each.secret_id, each.secret_name) for each in container.secrets),
        *((view.configs, "config", each.config_id, each.config_name) for each in container.configs),
    ]
    newest: dict[str, str] = {}
    for table, kind, object_id, name in wanted:
        if object_id not in table:
            current = next(iter(table.named(name)), None)
            if current is None:
                raise FailedPrecondition(f"that specification needs the {kind} {name}, which no longer exists")
            newest[object_id] = current.id
    with_newest = rename_references(container, lambda object_id: newest.get(object_id, object_id))
    template = msgspec.structs.replace(spec.task_template, container_spec=with_newest)
    return msgspec.structs.replace(spec, task_template=template)


def check_files(container: ContainerSpec, view: View) -> None:
    """Refuse references to secrets and configs that do not exist.

    Raises:
        InvalidArgument: names those that are missing.

    """
    _check_exist("secret", _missing_secrets(container.secrets, view))
    _check_exist("config", _missing_configs(container.configs, view))


def _missing_secrets(references: Iterable[SecretReference], view: View) -> list[str]:
    missing = []
    for reference in references:
        secret = view.secrets.get(reference.secret_id)
        if secret is None or not _is_called(secret, reference.secret_name):
            missing.append(reference.secret_name)
    return missing


def _missing_configs(references: Iterable[ConfigReference], view: View) -> list[str]:
    missing = []
    for reference in references:
        config = view.configs.get(reference.config_id)
        if config is None or not _is_called(config, reference.config_name):
            missing.append(reference.config_name)
    return missing


def _is_called(file: Secret | Config, name: str) -> bool:
    """Whether an object has a name, or is an old version of what has it now: a rolled back service names it so."""
    return name in (file.name, file.spec.labels.get(VERSION_OF))


def _check_exist(noun: str, missing: list[str]) -> None:
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise InvalidArgument(f"{noun}{plural} not found: {', '.join(missing)}")


def with_ids(spec: ServiceSpec, secret_ids: Mapping[str, str], config_ids: Mapping[str, str]) -> ServiceSpec:
    """Complete a converted specification; the mappings go from full name to id.

    Raises `NotFound`, with the engine's words, for a name that a mapping lacks: an external object that nobody made.
    """
    container = spec.task_template.container_spec or ContainerSpec()
    completed = replace(
        container,
        secrets=tuple(_secret_with_id(reference, secret_ids) for reference in container.secrets),
        configs=tuple(_config_with_id(reference, config_ids) for reference in container.configs),
        privileges=_credential(container, config_ids),
    )
    return replace(spec, task_template=replace(spec.task_template, container_spec=completed))


def _secret_with_id(reference: SecretReference, ids: Mapping[str, str]) -> SecretReference:
    return replace(reference, secret_id=_id("secret", reference.secret_name, ids))


def _config_with_id(reference: ConfigReference, ids: Mapping[str, str]) -> ConfigReference:
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

"""What a service's spec names: networks become ids, secrets and configs must exist. Runs inside the transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from common.enginenames import PREDEFINED_NETWORKS
from common.errors import InvalidArgument
from common.model import Config, Secret
from common.model.container import ConfigReference, ContainerSpec, SecretReference
from common.model.service import NetworkAttachmentConfig, ServiceSpec
from manager.api.errors import invalid
from manager.api.filled import filled
from manager.api.lookup import find_network
from manager.api.views.networks import PREDEFINED
from manager.orchestrate.rotation import VERSION_OF
from manager.state.view import View


def settle(spec: ServiceSpec, view: View) -> ServiceSpec:
    """Return the spec as it is stored: with network ids, and with what was left open filled in.

    Raises:
        EngineError, InvalidArgument: 400; something that the spec names does not exist, or is not the only one.

    """
    template = spec.task_template
    if template.container_spec is not None:
        _check_files(template.container_spec, view)
    networks = tuple(_attachment(n, view) for n in spec.attachments)
    _check_predefined(networks, spec)
    template = msgspec.structs.replace(template, networks=networks)
    return filled(msgspec.structs.replace(spec, task_template=template, networks=()))


def predefined_name(reference: str) -> str:
    """Return the name of the predefined network that a name or id means; empty when it means none."""
    return next((known.name for known in PREDEFINED if reference in (known.name, known.id)), "")


def _attachment(attachment: NetworkAttachmentConfig, view: View) -> NetworkAttachmentConfig:
    target = predefined_name(attachment.target)
    if not target:
        network = find_network(view, attachment.target)
        if network is None:
            raise invalid(f"network {attachment.target} not found")
        if network.spec.ingress:
            raise InvalidArgument(f"network {network.name} is the ingress network: a service cannot be attached to it")
        target = network.id
    return msgspec.structs.replace(attachment, target=target)


def _check_predefined(networks: Collection[NetworkAttachmentConfig], spec: ServiceSpec) -> None:
    """Refuse what an engine's own network cannot be together with."""
    for name in (n.target for n in networks if n.target in PREDEFINED_NETWORKS):
        if len(networks) > 1:
            raise InvalidArgument(f"network {name} is each node's own: a service that is on it can be on no other")
        if spec.endpoint_spec is not None and any(p.publish_mode == "ingress" for p in spec.endpoint_spec.ports):
            raise InvalidArgument(
                f"network {name} is each node's own, and the routing mesh does not lead there: "
                "publish the ports with mode=host, or leave the network out"
            )


def _check_files(container: ContainerSpec, view: View) -> None:
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

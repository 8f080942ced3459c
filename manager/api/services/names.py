"""What a service's spec names in the words of clients: names of networks become ids. Runs inside the transaction."""

from __future__ import annotations

import msgspec

from common.model.service import NetworkAttachmentConfig, ServiceSpec
from manager.api.errors import invalid
from manager.api.lookup import find_network
from manager.api.networks.view import PREDEFINED
from manager.store.view import View


def resolve_networks(spec: ServiceSpec, view: View) -> ServiceSpec:
    """Return the spec with the ids of its networks, all of them in the task template.

    Raises:
        EngineError: 400; a network does not exist, or a prefix fits several.

    """
    networks = tuple(_resolve_attachment(attachment, view) for attachment in spec.attachments)
    template = msgspec.structs.replace(spec.task_template, networks=networks)
    return msgspec.structs.replace(spec, task_template=template, networks=())


def predefined_name(reference: str) -> str:
    """Return the name of the predefined network that a name or id means; empty when it means none."""
    return next((known.name for known in PREDEFINED if reference in (known.name, known.id)), "")


def _resolve_attachment(attachment: NetworkAttachmentConfig, view: View) -> NetworkAttachmentConfig:
    target = predefined_name(attachment.target)
    if not target:
        network = find_network(view, attachment.target)
        if network is None:
            raise invalid(f"network {attachment.target} not found")
        target = network.id
    return msgspec.structs.replace(attachment, target=target)

"""What a specification refers to by id must exist, and must go together. Pure."""

from __future__ import annotations

from collections.abc import Collection

from common.enginenames import PREDEFINED_NETWORKS
from common.errors import InvalidArgument
from common.model.service import NetworkAttachmentConfig, ServiceSpec
from manager.domain.file_references import check_files
from manager.state.view import View


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

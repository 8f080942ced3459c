"""Nodes as the engine's API shows them."""

from __future__ import annotations

from typing import Any

from common.model import Node
from common.model.node import NodeDescription
from manager.api.views.render import head, render


def node_view(node: Node, tls_info: dict[str, str]) -> dict[str, Any]:
    """Render a node; `tls_info` is the trust root that it shares with the whole cluster."""
    result = head(node)
    spec = render(node.spec)
    spec.setdefault("Labels", {})
    result["Spec"] = spec
    result["Description"] = _description_view(node.description, tls_info)
    result["Status"] = render(node.status)
    if node.manager_status is not None:
        result["ManagerStatus"] = render(node.manager_status)
    return result


def _description_view(description: NodeDescription, tls_info: dict[str, str]) -> dict[str, Any]:
    plain = render(description.plain) if description.plain.count else None
    ours = {"Lacks": description.lacks, "Encryption": description.encryption, "PlainContainers": plain}
    return {
        **{key: value for key, value in ours.items() if value},
        "Hostname": description.hostname,
        "Platform": render(description.platform),
        "Resources": render(description.resources),
        "Engine": render(description.engine),
        "TLSInfo": tls_info,
    }

"""Nodes as the engine's API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.clock import rfc3339
from common.model import Node
from manager.api.views.render import head, render
from manager.state.refusals import Refused


def node_view(node: Node, tls_info: dict[str, str], refused: Sequence[Refused]) -> dict[str, Any]:
    """Render a node; `tls_info` is the trust root that it shares with the whole cluster.

    `refused` is what its worker said that was not believed.
    """
    result = head(node)
    spec = render(node.spec)
    spec.setdefault("Labels", {})
    result["Spec"] = spec
    result["Description"] = _description_view(node, tls_info)
    result["Status"] = render(node.status)
    if node.manager_status is not None:
        result["ManagerStatus"] = render(node.manager_status)
    if refused:
        result["Refused"] = [
            {"Field": each.field, "Reason": each.reason, "Count": each.count, "At": rfc3339(each.at)}
            for each in refused
        ]
    return result


def _description_view(node: Node, tls_info: dict[str, str]) -> dict[str, Any]:
    description = node.description
    ours = {
        "Lacks": description.lacks,
        "Encryption": description.encryption,
        "PlainContainers": render(description.plain) if description.plain.count else None,
        "HostnameTaken": node.hostname_taken,
    }
    return {
        **{key: value for key, value in ours.items() if value},
        "Hostname": node.name,
        "Platform": render(description.platform),
        "Resources": render(description.resources),
        "Engine": render(description.engine),
        "TLSInfo": tls_info,
    }

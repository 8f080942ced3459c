"""Nodes in a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from common.model.node import LEFT, SILENT
from manager.cli.format.tables import Row, Table
from manager.cli.format.wording import capitalize, natural

# What is seen from the state, or was done on purpose and for good.
_PLAIN = frozenset({"", SILENT, LEFT})
_NAMED = 3

NODES = Table(
    columns=(
        "{{.ID}} {{if .Self}}*{{else}} {{end}}",
        "{{.Hostname}}",
        "{{.Status}}",
        "{{.Availability}}",
        "{{.ManagerStatus}}",
        "{{.EngineVersion}}",
    ),
    headings={
        "ID": "ID",
        "Self": "",
        "Hostname": "HOSTNAME",
        "Status": "STATUS",
        "Availability": "AVAILABILITY",
        "ManagerStatus": "MANAGER STATUS",
        "EngineVersion": "ENGINE VERSION",
        "TLSStatus": "TLS STATUS",
    },
    raw={
        "node_id": "ID",
        "hostname": "Hostname",
        "status": "Status",
        "availability": "Availability",
        "manager_status": "ManagerStatus",
    },
)


def rows(nodes: Iterable[Any], swarm: Any) -> list[Row]:
    """Make the rows from the answers of /nodes and the `Swarm` part of /info, by host name."""
    return [_row(node, swarm) for node in sorted(nodes, key=lambda node: natural(_hostname(node)))]


def notes(nodes: Sequence[Any]) -> list[str]:
    """Say of those that are not ready why, as far as that is more than silence: a line for each reason.

    And of what is not clear about the names: a line for each node.
    """
    reasons: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        status = node["Status"]
        reason = status.get("State", ""), status.get("Message", "")
        if reason[0] != "ready" and reason[1] not in _PLAIN:
            reasons.setdefault(reason, []).append(_hostname(node) or node["ID"])
    lines = [f"{capitalize(state)}: {_names(names)}: {why}" for (state, why), names in sorted(reasons.items())]
    return [*lines, *_name_notes(nodes)]


def _name_notes(nodes: Iterable[Any]) -> Iterator[str]:
    """Say which nodes have a name that is another's, and which say that they have another than they have."""
    for node in sorted(nodes, key=lambda node: natural(_hostname(node))):
        who = f"{_hostname(node)} ({node['ID']})"
        if node["Description"].get("HostnameTaken"):
            yield f"{who}: another node had this host name first: node.hostname=={_hostname(node)} means that one"
        for refused in node.get("Refused") or []:
            if refused["Field"] == "NodeDescription.hostname":
                yield f"{who}: {refused['Reason']}"


def _names(names: list[str]) -> str:
    first = ", ".join(sorted(names, key=natural)[:_NAMED])
    return first if len(names) <= _NAMED else f"{first} and {len(names) - _NAMED} more"


def _hostname(node: Any) -> str:
    return str(node["Description"].get("Hostname", ""))


def _row(node: Any, swarm: Any) -> Row:
    return {
        "ID": node["ID"],
        "Self": node["ID"] == swarm.get("NodeID"),
        "Hostname": _hostname(node),
        "Status": capitalize(node["Status"].get("State", "")),
        "Availability": capitalize(node["Spec"].get("Availability", "")),
        "ManagerStatus": capitalize(_manager_status(node.get("ManagerStatus"))),
        "EngineVersion": (node["Description"].get("Engine") or {}).get("EngineVersion", ""),
        "TLSStatus": _tls_status(node["Description"].get("TLSInfo"), (swarm.get("Cluster") or {}).get("TLSInfo")),
    }


def _manager_status(status: Any) -> str:
    if not status:
        return ""
    return "leader" if status.get("Leader") else str(status.get("Reachability", ""))


def _tls_status(node: Any, cluster: Any) -> str:
    if not node or not cluster:
        return "Unknown"
    return "Ready" if node == cluster else "Needs Rotation"

"""Nodes in a table, and one of them as `node inspect --pretty` shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.model.node import LEFT, SILENT
from common.text.quantities import NANO_CPUS, human_size
from manager.cli.format.tables import Row, Table, capitalize, go_time, natural

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
    return [*lines, *_clock_notes(nodes), *_name_notes(nodes)]


def _clock_notes(nodes: Iterable[Any]) -> Iterator[str]:
    """Say which nodes' clocks are not the manager's."""
    for node in sorted(nodes, key=lambda node: natural(_hostname(node))):
        status = node["Status"]
        if status.get("ClockOffset") and status.get("State") == "ready":
            yield f"{_hostname(node)} ({node['ID']}): {status['Message']}"


def _name_notes(nodes: Iterable[Any]) -> Iterator[str]:
    """Say which nodes have a name that is another's, and which say that they have another than they have."""
    for node in sorted(nodes, key=lambda node: natural(_hostname(node))):
        label = f"{_hostname(node)} ({node['ID']})"
        if node["Description"].get("HostnameTaken"):
            yield f"{label}: another node had this host name first: node.hostname=={_hostname(node)} means that one"
        for refused in node.get("Refused") or []:
            if refused["Field"] == "NodeDescription.hostname":
                yield f"{label}: {refused['Reason']}"


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
        "ManagerStatus": capitalize(manager_status(node.get("ManagerStatus"))),
        "EngineVersion": (node["Description"].get("Engine") or {}).get("EngineVersion", ""),
        "TLSStatus": _tls_status(node["Description"].get("TLSInfo"), (swarm.get("Cluster") or {}).get("TLSInfo")),
    }


def manager_status(status: Any) -> str:
    """Say what a node is as a manager: `leader`, whether it answers, or `joining`; empty if it is none."""
    if not status:
        return ""
    if status.get("Leader"):
        return "leader"
    reachability = str(status.get("Reachability", ""))
    return "joining" if reachability == "unknown" else reachability  # what docker has no word for


def _tls_status(node: Any, cluster: Any) -> str:
    if not node or not cluster:
        return "Unknown"
    return "Ready" if node == cluster else "Needs Rotation"


def page(node: Any) -> str:
    """Lay a node out in lines (`Key:` and tabs, as the Docker command line has them)."""
    return "\n".join(_lines(node))


def _lines(node: Any) -> Iterator[str]:
    spec, description, status = node["Spec"], node["Description"], node["Status"]
    yield f"ID:\t\t\t{node['ID']}"
    if spec.get("Name"):
        yield f"Name:\t\t\t{spec['Name']}"
    yield from labels("Labels:", spec.get("Labels"))
    yield f"Hostname:              \t{description.get('Hostname', '')}{_of_another(description)}"
    yield f"Joined at:             \t{capitalize(go_time(node['CreatedAt']))}"
    yield "Status:"
    yield f" State:\t\t\t{capitalize(status.get('State', ''))}"
    if status.get("Message"):
        yield f" Message:              \t{capitalize(status['Message'])}"
    yield f" Availability:         \t{capitalize(spec.get('Availability', ''))}"
    if status.get("Addr"):
        yield f" Address:\t\t{status['Addr']}"
    yield from _manager(node.get("ManagerStatus"))
    yield from _refusal_lines(node.get("Refused") or [])
    yield from _host(description)
    yield from _tls(description.get("TLSInfo"))


def labels(head: str, given: Mapping[str, str] | None) -> Iterator[str]:
    if given:
        yield head
        for key, value in sorted(given.items()):
            yield f" - {key}={value}" if value else f" - {key}"


def _manager(status: Any) -> Iterator[str]:
    if not status:
        return
    yield "Manager Status:"
    yield f" Address:\t\t{status.get('Addr', '')}"
    yield f" Raft Status:\t\t{capitalize(status.get('Reachability', ''))}"
    yield f" Leader:\t\t{'Yes' if status.get('Leader') else 'No'}"


def _of_another(description: Any) -> str:
    return " (another node had it first)" if description.get("HostnameTaken") else ""


def _refusal_lines(entries: list[Any]) -> Iterator[str]:
    if entries:
        yield "Refused reports of its worker:"
    for entry in entries:
        yield f" {entry['Field']}: {entry['Reason']} ({entry['Count']} times, last at {go_time(entry['At'])})"


def _host(description: Any) -> Iterator[str]:
    platform = description.get("Platform") or {}
    resources = description.get("Resources") or {}
    engine = description.get("Engine") or {}
    memory = resources.get("MemoryBytes", 0)
    yield "Platform:"
    yield f" Operating System:\t{platform.get('OS', '')}"
    yield f" Architecture:\t\t{platform.get('Architecture', '')}"
    yield "Resources:"
    yield f" CPUs:\t\t\t{resources.get('NanoCPUs', 0) // NANO_CPUS}"
    yield f" Memory:\t\t{human_size(memory) if memory else ''}"
    yield from _plugins(engine.get("Plugins") or [])
    yield f"Engine Version:\t\t{engine.get('EngineVersion', '')}"
    yield from labels("Engine Labels:", engine.get("Labels"))
    yield from _lacks(description.get("Lacks") or [])


def _lacks(missing: list[Any]) -> Iterator[str]:
    """Say, in a sentence each, what its host cannot do for the cluster."""
    if missing:
        yield "Lacks:"
    for sentence in missing:
        yield f" - {sentence}"


def _plugins(plugins: list[Any]) -> Iterator[str]:
    if plugins:
        yield "Plugins:"
    for kind in sorted({plugin["Type"] for plugin in plugins}):
        named = ", ".join(plugin["Name"] for plugin in plugins if plugin["Type"] == kind)
        yield f" {kind}:\t\t{named}"


def _tls(info: Any) -> Iterator[str]:
    if info:
        yield f"TLS Info:\n TrustRoot:\n{info.get('TrustRoot', '')}"
        yield f" Issuer Subject:\t{info.get('CertIssuerSubject', '')}"
        yield f" Issuer Public Key:\t{info.get('CertIssuerPublicKey', '')}"

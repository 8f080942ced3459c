"""A node as `node inspect --pretty` shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.text.quantities import human_size
from manager.cli.format.wording import capitalize, go_time

_NANO = 1_000_000_000


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
    yield f" CPUs:\t\t\t{resources.get('NanoCPUs', 0) // _NANO}"
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

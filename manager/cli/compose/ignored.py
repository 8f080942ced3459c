"""What is accepted so that a file written for one host deploys, and has no effect: each key is told with what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from manager.cli.compose.config import Tree, locate
from manager.cli.compose.errors import KeyPath, Position, Problem

_ADDRESS = "replicas cannot share one address: reach the service by its name, which has one that stays"
# Of a service.
_KEYS = {
    "attach": "logs are read with `service logs`",
    "container_name": "tasks are named by service, slot and ID; a service is reached by its name or an alias",
    "develop": "it is for `docker compose watch`",
    "expose": "services of one network reach each other's ports without it",
    "external_links": "join a network that is external, and use the service's name there",
    "links": "services of one network reach each other by name; another name is one of its `aliases` of the network",
    "network_mode": "for the host's own network write `networks: [host]`, and at the top `host: {external: true}`",
    "pull_policy": "`stack deploy --resolve-image always|changed|never` says when the registry is asked again",
}
_RESTART = "in a stack, as in Docker, `no` restarts what ends; write `deploy.restart_policy.condition: none`"
# Of a service's network.
_ADDRESSES = {"ipv4_address": _ADDRESS, "ipv6_address": _ADDRESS}


def ignored_keys(tree: Tree, positions: Mapping[KeyPath, Position]) -> list[str]:
    """Warn of what has no effect in merged files: of each key once, at its first place."""
    found: dict[str, list[tuple[KeyPath, str]]] = {}
    for name, service in tree.get("services", {}).items():
        for path, advice in _of_service(("services", name), service):
            found.setdefault(str(path[-1]), []).append((path, advice))
    return [_warning(found[key], positions) for key in sorted(found)]


def _of_service(at: KeyPath, service: Tree) -> Iterator[tuple[KeyPath, str]]:
    for key, advice in _KEYS.items():
        if key in service:
            yield (*at, key), advice
    deploy = service.get("deploy", {})
    if service.get("restart") == "no" and "restart_policy" not in deploy and not _is_job(deploy):
        yield (*at, "restart"), _RESTART
    for network, options in service.get("networks", {}).items():
        for key, advice in _ADDRESSES.items():
            if key in (options or {}):
                yield (*at, "networks", network, key), advice


def _is_job(deploy: Tree) -> bool:
    return str(deploy.get("mode", "")).endswith("-job")


def _warning(places: list[tuple[KeyPath, str]], positions: Mapping[KeyPath, Position]) -> str:
    (path, advice), *others = places
    more = f" (and in {len(others)} more place{'' if len(others) == 1 else 's'})" if others else ""
    return str(Problem(f"has no effect in a stack{more}: {advice}", path, locate(positions, path)))

"""What the manager says of itself and of the cluster as a whole: /version and /info."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.clock import rfc3339
from common.model import Node
from manager.api.engine.types import EngineInfo
from manager.api.host import Host
from manager.api.swarm import cluster_view
from manager.ca.rotation import root_of
from manager.store.view import View

_PLUGIN_TYPES = ("Volume", "Network", "Authorization", "Log")
# What an engine says of itself alone. Clients expect the fields: they are one engine's, or these where none answers.
_OF_ONE_ENGINE: Mapping[str, Any] = {
    "Driver": "",
    "DriverStatus": [],
    "LoggingDriver": "json-file",
    "CgroupDriver": "",
    "CgroupVersion": "",
    "DockerRootDir": "",
    "IndexServerAddress": "https://index.docker.io/v1/",
    "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": [], "Mirrors": []},
    "Labels": [],
    "Runtimes": {},
    "DefaultRuntime": "",
    "SecurityOptions": [],
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "CPUShares": True,
    "CPUSet": True,
    "PidsLimit": True,
    "IPv4Forwarding": True,
    "OomKillDisable": False,
    "BridgeNfIptables": True,
    "BridgeNfIp6tables": True,
    "Debug": False,
    "ExperimentalBuild": False,
    "LiveRestoreEnabled": False,
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
    "InitBinary": "",
    "ContainerdCommit": {"ID": "", "Expected": ""},
    "RuncCommit": {"ID": "", "Expected": ""},
    "InitCommit": {"ID": "", "Expected": ""},
    "Isolation": "",
    "GenericResources": None,
    "Warnings": None,
}


def version_view(version: str, host: Host, api: str, min_api: str) -> dict[str, Any]:
    """Render `GET /version`; `version` is the program's, `api` and `min_api` the API versions that it serves."""
    details = {
        "ApiVersion": api,
        "MinAPIVersion": min_api,
        "Os": host.os,
        "Arch": host.go_architecture,
        "KernelVersion": host.kernel,
        "Experimental": "false",
    }
    return {
        "Platform": {"Name": "swarm-manager"},
        "Components": [{"Name": "Engine", "Version": version, "Details": details}],
        "Version": version,
        "ApiVersion": api,
        "MinAPIVersion": min_api,
        "GitCommit": "",
        "GoVersion": "",
        "Os": host.os,
        "Arch": host.go_architecture,
        "KernelVersion": host.kernel,
    }


_COUNTED = ("Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped", "Images")
_OWN = EngineInfo.__annotations__.keys() - set(_COUNTED)


def info_view(
    view: View,
    version: str,
    host: Host,
    swarm: dict[str, Any],
    now: float,
    engines: Sequence[EngineInfo],
    missing: Sequence[str],
) -> dict[str, Any]:
    """Render `GET /info`: the cluster as if it were one engine; sizes and numbers are sums over the ready nodes.

    `engines` is what theirs say of themselves: what cannot be added up is the first one's. `missing` says which did
    not answer.
    """
    ready = [node for node in view.nodes if node.agent and node.status.state == "ready"]
    counts: Sequence[Mapping[str, Any]] = engines
    own = {name: value for name, value in engines[0].items() if name in _OWN} if engines else {}
    return {
        "ID": swarm.get("Cluster", {}).get("ID", ""),
        "Name": host.hostname,
        "ServerVersion": version,
        **{name: sum(max(0, each.get(name, 0)) for each in counts) for name in _COUNTED},
        "NCPU": sum(node.description.resources.nano_cpus for node in ready) // 1_000_000_000,
        "MemTotal": sum(node.description.resources.memory_bytes for node in ready),
        "Plugins": _plugins(ready),
        "OperatingSystem": host.operating_system,
        "OSVersion": "",
        "OSType": host.os,
        "Architecture": host.architecture,
        "KernelVersion": host.kernel,
        "SystemTime": rfc3339(now),
        **_OF_ONE_ENGINE,
        **own,
        "Warnings": list(missing) or None,
        "Swarm": swarm,
    }


def swarm_info_view(view: View, node_id: str, address: str, trouble: str) -> dict[str, Any]:
    """Render the `Swarm` section of `/info`; without a cluster, an inactive one. `trouble`: why it takes no changes."""
    if not len(view.clusters):
        return absent_swarm_view("inactive")
    own = view.nodes.get(node_id)
    managers = [node for node in view.nodes if node.manager_status is not None]
    return {
        "NodeID": node_id,
        "NodeAddr": own.status.addr if own is not None and own.status.addr else address,
        "LocalNodeState": "active",
        "ControlAvailable": True,
        "Error": trouble,
        "RemoteManagers": [_remote_manager(node) for node in managers],
        "Nodes": len(view.nodes),
        "Managers": len(managers),
        "Cluster": cluster_view(view.cluster, root_of(view)),
    }


def absent_swarm_view(state: str) -> dict[str, Any]:
    """Render the `Swarm` section of a manager that has nothing to say of a cluster: `inactive` or `locked`."""
    return {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": state,
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    }


def _remote_manager(node: Node) -> dict[str, str]:
    return {"NodeID": node.id, "Addr": node.manager_status.addr if node.manager_status is not None else ""}


def _plugins(nodes: Iterable[Node]) -> dict[str, list[str] | None]:
    """List by type the plugins that some node has."""
    found: dict[str, set[str]] = {kind: set() for kind in _PLUGIN_TYPES}
    for node in nodes:
        for plugin in node.description.engine.plugins:
            found.setdefault(plugin.type, set()).add(plugin.name)
    return {kind: sorted(names) or None for kind, names in found.items()}

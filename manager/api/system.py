"""/_ping, /version, /info, /system/df: the manager as an engine.

What single engines have and the cluster does not is refused in words that say where to get it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from common.clock import rfc3339
from common.errors import Unavailable
from common.model import Node
from common.model.client import Role
from common.text.quantities import NANO_CPUS
from manager.api.call import Answer, Call, Reply
from manager.api.containers.list import warning_header
from manager.api.context import Context, Host
from manager.api.engine.proxy import EngineReply, raw_query, read_every
from manager.api.engine.types import BuildRecord, Container, DiskUsage, EngineInfo, Image, Volume
from manager.api.errors import EngineError, Unimplemented
from manager.api.images.names import Naming
from manager.api.images.registry import builder_version, by_suitability
from manager.api.lookup import find_node
from manager.api.router import MAX_API_VERSION, MIN_API_VERSION, Handler, Place, Route
from manager.api.swarm import cluster_view
from manager.ca.rotation import root_of
from manager.domain.hostnames import node_name
from manager.store.view import View

DF_SECONDS = 10.0
INFO_SECONDS = 1.0
_USED: Mapping[str, type[Any]] = {
    "Images": Image,
    "Containers": Container,
    "Volumes": Volume,
    "BuildCache": BuildRecord,
}


async def ping(context: Context, call: Call) -> Reply:
    """Answer the first question of every client. Only here is the swarm's state in the head."""
    view = context.store.view
    headers = {
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Builder-Version": builder_version(context),
        "Swarm": "locked" if context.keys.locked else "active/manager" if len(view.clusters) else "inactive",
    }
    body = b"OK" if call.method == "GET" else b""
    return Answer(value=body, headers=headers, content_type="text/plain; charset=utf-8")


async def version(context: Context, _: Call) -> Reply:
    view = version_view(context.identity.version, context.host, MAX_API_VERSION, MIN_API_VERSION)
    return Answer(value=view)


async def info(context: Context, _: Call) -> Reply:
    """Add up what the engines say of themselves; of one that does not answer, a warning says so."""
    asked = None if context.quorum.leads else ()  # the leader has the workers' sessions
    found, reasons = await read_every(
        context, "GET", "/info", _info, seconds=INFO_SECONDS, asked_by_client=False, node_ids=asked
    )
    view = context.store.view
    engines = [found[node.id] for node in by_suitability(context) if node.id in found]
    missing = [f"node {node_name(view, node_id)}: {reason}" for node_id, reason in sorted(reasons.items())]
    if context.keys.locked:
        swarm = absent_swarm_view("locked")
    else:
        trouble = context.quorum.trouble or context.store.failure
        swarm = swarm_info_view(view, context.identity.node_id, context.identity.address, trouble)
    now = context.clock.now()
    return Answer(value=info_view(view, context.identity.version, context.host, swarm, now, engines, missing))


async def _info(reply: EngineReply) -> EngineInfo:
    return reply.read(EngineInfo)


async def disk_usage(context: Context, call: Call) -> Reply:
    """Add up what the engines say, or tell what that of one `node` does (an extension of the API).

    A `Warning` header names the nodes that do not say.

    Raises:
        Unavailable: the one node does not say.

    """
    query, only = raw_query(call), None
    if "node" in call.query:
        only = find_node(context.store.view, call.query["node"])
        query = urlencode([each for each in parse_qsl(query, keep_blank_values=True) if each[0] != "node"])
    usages, reasons = await read_every(
        context,
        "GET",
        "/system/df",
        _usage,
        version=call.version,
        query=query,
        seconds=DF_SECONDS,
        node_ids=[only.id] if only is not None else None,
    )
    if only is not None and reasons:
        raise Unavailable(f"node {only.name} does not say what its disk holds: {reasons[only.id]}")
    naming = Naming.of(context.store.view)
    for node_id, (_, items) in usages.items():
        items["Images"] = [naming.shown(node_id, image) for image in items["Images"]]
    totals = {name: [item for _, items in usages.values() for item in items[name]] for name in _USED}
    layers = sum(size for size, _ in usages.values())
    headers = warning_header(context.store.view, reasons, [only.id] if only is not None else None)
    return Answer(value={"LayersSize": layers, **totals}, headers=headers)


async def _usage(reply: EngineReply) -> tuple[int, dict[str, list[Any]]]:
    """Read one engine's answer: the size of its layers, and its lists."""
    usage = reply.parts(DiskUsage)
    return max(0, usage.get("LayersSize", 0)), {
        name: await reply.items(kind, usage.get(name)) for name, kind in _USED.items()
    }


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

    `version` is the program's, `swarm` the rendered `Swarm` section, `now` in Unix seconds. `engines` is what theirs
    say of themselves: what cannot be added up is the first one's. `missing` has a sentence for each silent one.
    """
    ready = [node for node in view.nodes if node.agent and node.status.state == "ready"]
    counts: Sequence[Mapping[str, Any]] = engines
    own = {name: value for name, value in engines[0].items() if name in _OWN} if engines else {}
    return {
        "ID": swarm.get("Cluster", {}).get("ID", ""),
        "Name": host.hostname,
        "ServerVersion": version,
        **{name: sum(max(0, each.get(name, 0)) for each in counts) for name in _COUNTED},
        "NCPU": sum(node.description.resources.nano_cpus for node in ready) // NANO_CPUS,
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


_PLUGIN_FILTERS = frozenset({"capability", "enable"})
_PLUGINS = (
    "the cluster has no plugins of its own: install the plugin on every host that needs it, with that host's engine "
    "('docker -H unix:///run/docker.sock plugin install …' there); nodes tell the cluster what they have"
)
_CHECKPOINTS = "checkpoints are not supported: start the container anew, or use the docker command on its own host"
_VOLUMES = "cluster volumes are not supported: create the volume on a node, with 'docker volume create NODE/NAME'"


async def list_plugins(_context: Context, call: Call) -> Reply:
    """Answer that there are none; `/info` names those of the nodes' engines."""
    call.filters(_PLUGIN_FILTERS)
    return Answer(value=[])


async def no_such_plugin(_context: Context, call: Call) -> Reply:
    raise EngineError(404, f'plugin "{call.params["name"]}" not found')


def refusing(words: str) -> Handler:
    """Make the handler that answers 501 with these words."""

    async def handler(_context: Context, _call: Call) -> Reply:
        raise Unimplemented(words)

    return handler


_CHANGES = ("disable", "enable", "push", "set", "upgrade")


ROUTES = (
    Route("GET", "/_ping", ping, needs=Role.VIEWER, place=Place.HERE),
    Route("HEAD", "/_ping", ping, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/version", version, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/info", info, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/system/df", disk_usage, needs=Role.VIEWER),
    Route("GET", "/plugins", list_plugins, needs=Role.VIEWER),
    Route("GET", "/plugins/privileges", refusing(_PLUGINS), needs=Role.OPERATOR),
    Route("POST", "/plugins/pull", refusing(_PLUGINS), needs=Role.OPERATOR),
    Route("POST", "/plugins/create", refusing(_PLUGINS), needs=Role.OPERATOR),
    Route("GET", "/plugins/{name+}/json", no_such_plugin, needs=Role.VIEWER),
    *(Route("POST", f"/plugins/{{name+}}/{change}", no_such_plugin, needs=Role.OPERATOR) for change in _CHANGES),
    Route("DELETE", "/plugins/{name+}", no_such_plugin, needs=Role.OPERATOR),
    Route("GET", "/containers/{id}/checkpoints", refusing(_CHECKPOINTS), needs=Role.OPERATOR),
    Route("POST", "/containers/{id}/checkpoints", refusing(_CHECKPOINTS), needs=Role.OPERATOR),
    Route("DELETE", "/containers/{id}/checkpoints/{checkpoint}", refusing(_CHECKPOINTS), needs=Role.OPERATOR),
    Route("PUT", "/volumes/{name}", refusing(_VOLUMES), needs=Role.OPERATOR),
)

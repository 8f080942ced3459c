"""What a host is and has, from its engine's own answer. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from common.model.node import EngineDescription, NodeDescription, NodeResources, PlainContainers, Plugin
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec, Platform
from common.wire.admission import ENTRIES_BYTES, fitting

CPU = 1_000_000_000
# Bytes of a message that each list of a description may take.
_SHARE = ENTRIES_BYTES // 6
_PLUGIN_KINDS = {"Volume": "Volume", "Network": "Network", "Log": "Log", "Authorization": "Authorization"}


def describe(
    info: Mapping[str, Any],
    agent_version: str,
    lacks: Collection[str] = (),
    encryption: str = "",
    *,
    ipv6: bool = True,
    ipv6_addresses: Collection[str] = (),
    plain: PlainContainers | None = None,
    volumes: bool = False,
    snapshots: bool = False,
) -> NodeDescription:
    """Describe this host from the engine's /info (with /version under `Version`).

    `lacks` names missing rights or tools, one sentence each; `encryption` what carries encrypted networks;
    `ipv6`: whether it takes tasks of dual-stack networks; `ipv6_addresses` are the host's own;
    `plain`: the containers that are not tasks; `volumes`: whether its volumes are reported.
    Of longer lists than a message has room for, the end is left out.
    """
    version = info.get("Version") or {}
    return NodeDescription(
        hostname=info.get("Name", ""),
        platform=Platform(architecture=info.get("Architecture", ""), os=info.get("OSType", "linux")),
        resources=NodeResources(
            nano_cpus=int(info.get("NCPU", 0)) * CPU,
            memory_bytes=int(info.get("MemTotal", 0)),
            generic_resources=fitting(_generic(info.get("GenericResources") or ()), _SHARE),
        ),
        engine=EngineDescription(
            engine_version=info.get("ServerVersion", ""),
            api_version=version.get("ApiVersion", ""),
            min_api_version=version.get("MinAPIVersion", ""),
            labels=dict(fitting((label.partition("=")[::2] for label in info.get("Labels") or ()), _SHARE)),
            plugins=fitting(_plugins(info.get("Plugins") or {}), _SHARE),
        ),
        lacks=fitting((*lacks, *_engine_lacks(info)), _SHARE),
        agent_version=agent_version,
        encryption=encryption,
        ipv6=ipv6,
        ipv6_addresses=fitting(ipv6_addresses, _SHARE),
        plain=plain or PlainContainers(),
        measures=True,
        volumes=volumes,
        snapshots=snapshots,
    )


def _plugins(plugins: Mapping[str, Any]) -> tuple[Plugin, ...]:
    """List plugins sorted by kind and name, so that an equal host has an equal description."""
    found = [
        Plugin(type=_PLUGIN_KINDS.get(kind, kind), name=name) for kind, names in plugins.items() for name in names or ()
    ]
    return tuple(sorted(found, key=lambda plugin: (plugin.type, plugin.name)))


def _generic(resources: Collection[Mapping[str, Any]]) -> tuple[GenericResource, ...]:
    found = []
    for resource in resources:
        if named := resource.get("NamedResourceSpec"):
            spec = NamedResourceSpec(kind=named["Kind"], value=named["Value"])
            found.append(GenericResource(named_resource_spec=spec))
        elif discrete := resource.get("DiscreteResourceSpec"):
            count = DiscreteResourceSpec(kind=discrete["Kind"], value=int(discrete["Value"]))
            found.append(GenericResource(discrete_resource_spec=count))
    return tuple(found)


def _engine_lacks(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Say which limits the engine cannot keep: its own warnings about the kernel would reach nobody."""
    limits = {
        "MemoryLimit": "the kernel has no memory cgroup: memory limits do not work",
        "CpuCfsQuota": "the kernel has no CPU quota: CPU limits do not work",
        "PidsLimit": "the kernel has no pids cgroup: limits of processes do not work",
    }
    return tuple(sentence for key, sentence in limits.items() if info.get(key) is False)

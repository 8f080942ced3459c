"""Containers in networks of the cluster: as `network inspect` lists them, and as they themselves are shown. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from common.addressing6 import beside_ipv4, prefix_of
from common.enginenames import GATEWAY_NETWORK, engine_network
from common.model import Network, TaskState
from manager.state.view import View


def containers_view(view: View, network: Network) -> dict[str, dict[str, str]]:
    """Render who is in a network, by container id: on every node, tasks and plain containers that run."""
    prefix = IPv4Network(network.subnets[0].subnet).prefixlen if network.subnets else 32
    subnets = [config.subnet for config in network.subnets]
    prefix6 = prefix_of(subnets)
    return {
        container_id: {
            "Name": name,
            "EndpointID": record_id,
            "MacAddress": "",
            "IPv4Address": f"{address}/{prefix}" if address else "",
            "IPv6Address": f"{beside_ipv4(subnets, address)}/{prefix6.prefixlen}" if prefix6 and address else "",
        }
        for container_id, name, record_id, address in _members(view, network.id)
    }


def _members(view: View, network_id: str) -> Iterator[tuple[str, str, str, str]]:
    for attachment in view.attachments:
        end = attachment.end_in(network_id)
        if attachment.live and attachment.status.running and end is not None:
            yield attachment.container, attachment.name, attachment.id, end.address
    for task in view.tasks:
        status = task.status
        if status.state is TaskState.RUNNING and network_id in status.addresses and status.container_status is not None:
            yield status.container_status.container_id, task.name, task.id, status.addresses[network_id]


def with_cluster_networks(view: View, shown: dict[str, Any]) -> dict[str, Any]:
    """Give the networks in a container's JSON, of `inspect` or of a list, the cluster's names in place of its engine's.

    The way out that every host has of its own is left out, as Docker does with its own.
    """
    settings, host = shown.get("NetworkSettings") or {}, shown.get("HostConfig") or {}
    found: Mapping[str, Any] = settings.get("Networks") or {}
    known = {engine_network(network): network for network in view.networks}
    if GATEWAY_NETWORK not in found and not known.keys() & found.keys():
        return shown
    networks = {}
    for name, end in found.items():
        network = known.get(name)
        if network is not None:
            networks[network.name] = {**(end or {}), "NetworkID": network.id}
        elif name != GATEWAY_NETWORK:
            networks[name] = end
    mode = host.get("NetworkMode", "")
    if mode == GATEWAY_NETWORK or mode in known:
        ours = next((name for name in networks), "none")
        host = {**host, "NetworkMode": known[mode].name if mode in known else ours}
    return {**shown, "NetworkSettings": {**settings, "Networks": networks}, "HostConfig": host}


def in_network(shown: Mapping[str, Any], wanted: Collection[str]) -> bool:
    """Whether a container's list entry names one of these networks, by its name or its id."""
    found = (shown.get("NetworkSettings") or {}).get("Networks") or {}
    return any(name in wanted or (end or {}).get("NetworkID") in wanted for name, end in found.items())

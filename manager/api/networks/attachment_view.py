"""Containers in networks of the cluster: as `network inspect` lists them, and as they themselves are shown. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from common.model import Network, NetworkAttachment, Task, TaskState
from common.net.addressing import beside_ipv4, prefix_of
from common.text.image_names import GATEWAY_NETWORK, engine_network
from manager.api.logs.stream import TASK_LABEL
from manager.api.networks.view import PREDEFINED, in_mesh, ingress_of, task_address, with_prefix
from manager.store.view import View


def containers_view(view: View, network: Network) -> dict[str, dict[str, str]]:
    """Render who is in a network, by container id: on every node, tasks and plain containers that run."""
    subnets = [config.subnet for config in network.subnets]
    prefix6 = prefix_of(subnets)
    return {
        container_id: {
            "Name": name,
            "EndpointID": record_id,
            "MacAddress": "",
            "IPv4Address": address,
            "IPv6Address": f"{beside_ipv4(subnets, address.partition('/')[0])}/{prefix6.prefixlen}"
            if prefix6 and address
            else "",
        }
        for container_id, name, record_id, address in _members(view, network)
    }


def _members(view: View, network: Network) -> Iterator[tuple[str, str, str, str]]:
    """Yield container id, name, the record's id and the address, which is empty where the engine chose it."""
    for attachment in view.attachments:
        end = attachment.end_in(network.id)
        if attachment.live and attachment.status.running and end is not None:
            address = with_prefix(end.address, network) if end.address else ""
            yield attachment.container, attachment.name, attachment.id, address
    for task in view.tasks:
        container = task.status.container_status
        address = task_address(view, task, network)
        if task.status.state is TaskState.RUNNING and container is not None and address:
            yield container.container_id, task.name, task.id, address


def with_cluster_networks(view: View, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Give the networks in a container's JSON, of `inspect` or of a list, the cluster's names and ids.

    The way out that every host has of its own is left out, as Docker does with its own; for a task that answers in the
    routing mesh it is that network.
    """
    settings, host = shown.get("NetworkSettings") or {}, shown.get("HostConfig") or {}
    found: Mapping[str, Any] = settings.get("Networks") or {}
    known = {engine_network(network): network for network in view.networks}
    task = _task_of(view, shown)
    ingress = ingress_of(view) if task is not None and in_mesh(task) else None
    networks: dict[str, Mapping[str, Any] | None] = {}
    for name, end in found.items():
        network = ingress if name == GATEWAY_NETWORK else known.get(name)
        if network is not None:
            networks[network.name] = {**(end or {}), "NetworkID": network.id}
        elif name != GATEWAY_NETWORK:
            networks[name] = _predefined_endpoint(name, end)
    mode = host.get("NetworkMode", "")
    if mode == GATEWAY_NETWORK:
        own = (name for name in networks if ingress is None or name != ingress.name)
        host = {**host, "NetworkMode": next(own, ingress.name if ingress else "none")}
    elif mode in known:
        host = {**host, "NetworkMode": known[mode].name}
    return {**shown, "NetworkSettings": {**settings, "Networks": networks}, "HostConfig": host}


def _task_of(view: View, shown: Mapping[str, Any]) -> Task | None:
    """Return the task whose container this is: in a list its labels are its own, in `inspect` its configuration's."""
    labels = shown.get("Labels") or (shown.get("Config") or {}).get("Labels") or {}
    return view.tasks.get(labels.get(TASK_LABEL, ""))


def _predefined_endpoint(name: str, end: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Give an end in a network that every engine has the id by which `/networks` lists that network."""
    network = next((each for each in PREDEFINED if each.name == name), None)
    return {**end, "NetworkID": network.id} if network is not None and end and end.get("NetworkID") else end


def with_names(view: View, shown: dict[str, Any], attachment: NetworkAttachment | None) -> dict[str, Any]:
    """Add the names that were asked for to a container's ends in the cluster's networks, in `inspect`'s JSON.

    They are the aliases of its task, or the aliases and links of its attachment. Its engine has not heard of them: the
    cluster's name server answers for them.
    """
    task = _task_of(view, shown)
    given: dict[str, tuple[tuple[str, ...], Mapping[str, str]]]
    given = {each.target: (each.aliases, {}) for each in (task.spec.networks if task is not None else ())}
    given |= {each.target: (each.aliases, each.links) for each in (attachment.networks if attachment else ())}
    asked = {network.name: given[network.id] for network in view.networks if any(given.get(network.id, ()))}
    if not asked:
        return shown
    settings, host = shown.get("NetworkSettings") or {}, shown.get("HostConfig") or {}
    ends = settings.get("Networks") or {}
    named = {name: _with_names(end or {}, *asked[name]) if name in asked else end for name, end in ends.items()}
    links = [f"/{other}:{shown['Name']}/{name}" for _, each in asked.values() for name, other in each.items()]
    host = {**host, "Links": links} if links else host
    return {**shown, "NetworkSettings": {**settings, "Networks": named}, "HostConfig": host}


def _with_names(end: Mapping[str, Any], aliases: tuple[str, ...], links: Mapping[str, str]) -> dict[str, Any]:
    names = {"Aliases": list(dict.fromkeys((*aliases, *(end.get("Aliases") or ())))) or None}
    if links:
        names["Links"] = [f"{other}:{name}" for name, other in links.items()]
    if "DNSNames" in end:  # since API 1.44: the container's name, its aliases, and what else it is called
        own, *others = end["DNSNames"] or ("",)
        names["DNSNames"] = list(dict.fromkeys(filter(None, (own, *aliases, *others))))
    return {**end, **names}


def in_network(shown: Mapping[str, Any], wanted: Collection[str]) -> bool:
    """Whether a container's list entry names one of these networks, by its name or its id."""
    found = (shown.get("NetworkSettings") or {}).get("Networks") or {}
    return any(name in wanted or (end or {}).get("NetworkID") in wanted for name, end in found.items())

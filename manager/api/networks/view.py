"""Networks, in the two forms of the engine's API: the network list's, and the one inside tasks.

Containers in them are as `network inspect` lists them, and as they themselves are shown. Names of networks, as clients
use them in a specification, become ids inside the transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network
from typing import Any

import msgspec

from common.clock import ZERO_TIME, rfc3339
from common.model import Network, NetworkAttachment, Task, TaskState
from common.model.network import IpamConfig
from common.model.service import NetworkAttachmentConfig, ServiceSpec
from common.net.addressing import beside_ipv4, layout, prefix_of
from common.net.engine_networks import GATEWAY_NETWORK, engine_network
from common.wire.messages import MESH
from manager.api.errors import invalid
from manager.api.logs.stream import TASK_LABEL
from manager.api.lookup import find_network
from manager.api.render import head, render
from manager.store.view import View

_VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"


@dataclass(frozen=True, slots=True)
class Predefined:
    """A network that every engine has of itself. Services name it as their target by this name."""

    name: str
    driver: str

    @property
    def id(self) -> str:
        """A stable id of the form that the engine's local networks have."""
        return hashlib.sha256(f"predefined network {self.name}".encode()).hexdigest()


PREDEFINED = (Predefined("bridge", "bridge"), Predefined("host", "host"), Predefined("none", "null"))


def network_view(network: Network) -> dict[str, Any]:
    """Render a network as `GET /networks` does."""
    spec = network.spec
    options = dict(spec.driver.options)
    if network.vni:
        options[_VNI_OPTION] = str(network.vni)
    ranges = network.subnets or spec.ipam.configs
    return _blank() | {
        "Name": spec.name,
        "Id": network.id,
        "Created": rfc3339(network.created_at),
        "Scope": spec.scope,
        "Driver": spec.asked_driver or spec.driver.name,
        "EnableIPv6": spec.ipv6_enabled,
        "IPAM": {
            "Driver": spec.ipam.driver.name or "default",
            "Options": dict(spec.ipam.driver.options) or None,
            "Config": [_range_view(item) for item in ranges],
        },
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": spec.ingress,
        "Options": options,
        "Labels": spec.labels,
    }


def view_predefined(network: Predefined, *, scope: str = "local") -> dict[str, Any]:
    """Render one of the networks that exist on every engine."""
    return _blank() | {"Name": network.name, "Id": network.id, "Scope": scope, "Driver": network.driver}


def _blank() -> dict[str, Any]:
    """Return a network of which nothing is known, with all fields in the engine's order."""
    return {
        "Name": "",
        "Id": "",
        "Created": ZERO_TIME,
        "Scope": "",
        "Driver": "",
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


def _range_view(item: IpamConfig) -> dict[str, str]:
    fields = {"Subnet": item.subnet, "IPRange": item.range, "Gateway": item.gateway}
    return {key: value for key, value in fields.items() if value}


def with_prefix(address: str, network: Network | None) -> str:
    """Write an address in a network as clients parse it, `10.0.9.2/24`; of a network that is gone, alone."""
    subnets = network.subnets if network is not None else ()
    return f"{address}/{subnets[0].subnet.partition('/')[2] if subnets else 32}"


def ingress_of(view: View) -> Network | None:
    """Return the network that stands for the routing mesh, where there is one."""
    return next((network for network in view.networks if network.spec.ingress), None)


def in_mesh(task: Task) -> bool:
    """Whether a task answers on a port of the routing mesh."""
    return any(port.publish_mode == "ingress" for port in task.ports)


def task_address(view: View, task: Task, network: Network) -> str:
    """Return a task's address in a network, `10.1.16.2/16`, empty where it has none.

    In the ingress network it is the one at which the mesh reaches the task, of the nodes' gateway ranges.
    """
    if not network.spec.ingress:
        address = task.status.addresses.get(network.id, "")
        return with_prefix(address, network) if address else ""
    address = task.status.addresses.get(MESH, "") if in_mesh(task) else ""
    return f"{address}/{_gateways(view.cluster.default_addr_pool).prefixlen}" if address else ""


@lru_cache(maxsize=8)
def _gateways(pools: tuple[str, ...]) -> IPv4Network:
    return layout(pools).gateways


def view_attached(network: Network) -> dict[str, Any]:
    """Render a network as it stands in a task's `NetworksAttachments`."""
    spec = network.spec
    result = head(network)
    result["Spec"] = _view_spec(network)
    options = {_VNI_OPTION: str(network.vni)} if network.vni else {}
    result["DriverState"] = {"Name": spec.driver.name, **({"Options": options} if options else {})}
    result["IPAMOptions"] = {
        "Driver": {"Name": spec.ipam.driver.name or "default"},
        "Configs": [_range_view(item) for item in network.subnets],
    }
    return result


def _view_spec(network: Network) -> dict[str, Any]:
    spec = network.spec
    result: dict[str, Any] = {
        "Name": spec.name,
        "Labels": spec.labels,
        "DriverConfiguration": render(spec.driver),
        "Scope": spec.scope,
    }
    flags = {
        "IPv6Enabled": spec.ipv6_enabled,
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": spec.ingress,
    }
    result.update({key: True for key, on in flags.items() if on})
    if spec.ipam.configs:
        result["IPAMOptions"] = {
            "Driver": render(spec.ipam.driver),
            "Configs": [_range_view(c) for c in spec.ipam.configs],
        }
    return result


def containers_view(view: View, network: Network) -> dict[str, dict[str, str]]:
    """Render the running tasks and unmanaged containers in a network on all nodes, by container id."""
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


def resolve_networks(spec: ServiceSpec, view: View) -> ServiceSpec:
    """Return the spec with the ids of its networks, all of them in the task template.

    Raises:
        EngineError: 400; a network does not exist, or a prefix fits several.

    """
    networks = tuple(_resolve_attachment(attachment, view) for attachment in spec.attachments)
    template = msgspec.structs.replace(spec.task_template, networks=networks)
    return msgspec.structs.replace(spec, task_template=template, networks=())


def predefined_name(reference: str) -> str:
    """Return the name of the predefined network that a name or id means; empty when it means none."""
    return next((known.name for known in PREDEFINED if reference in (known.name, known.id)), "")


def _resolve_attachment(attachment: NetworkAttachmentConfig, view: View) -> NetworkAttachmentConfig:
    target = predefined_name(attachment.target)
    if not target:
        network = find_network(view, attachment.target)
        if network is None:
            raise invalid(f"network {attachment.target} not found")
        target = network.id
    return msgspec.structs.replace(attachment, target=target)

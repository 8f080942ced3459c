"""The networks of the cluster that a container is to be in: what a client asks for, and what its engine is told. Pure.

The engine is given the worker's networks and addresses in place of the cluster's names. A container is made with one
network, which all versions of the API can, and connected to the others before it starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from common.errors import InvalidArgument
from common.model import Network, NetworkAttachment
from common.model.attachment import ATTACHMENT_LABEL, AttachedEnd, AttachedNetwork
from common.model.naming import Model
from common.net.addressing import ipv4_in, prefix_of, with_ipv4
from manager.allocate.attachments import check_address, requestable_range
from manager.allocate.leases import holder_of, lease_around
from manager.api.errors import EngineError, invalid
from manager.api.http.body import convert, normal
from manager.api.lookup import find_network
from manager.api.networks.view import predefined_name
from manager.domain.hostnames import node_name
from manager.store.view import View

_RESOLV = "/etc/resolv.conf"
_FULL_ID = re.compile(r"[0-9a-f]{64}")


class RequestedIpam(Model):
    ipv4_address: str = ""
    ipv6_address: str = ""


class RequestedEndpoint(Model):
    """One entry of `EndpointsConfig`, as far as it is ours to read."""

    ipam_config: RequestedIpam | None = None
    aliases: tuple[str, ...] | None = None
    links: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Another container, and what it is to be called by the one that is made."""

    target: str
    alias: str


def is_cluster_network(name: str) -> bool:
    """Whether a network's name may be one of the cluster's: it is not an engine's own, nor another container's."""
    return bool(name) and name != "default" and not predefined_name(name) and not name.startswith("container:")


def read_networks(mode: str, endpoints: Mapping[str, Any], view: View) -> tuple[AttachedNetwork, ...]:
    """Read the networks of the cluster that a create body names; empty when it names none.

    Raises:
        EngineError: 400, there is no such network, or it cannot be had together with the others; 403, it is not for
            unmanaged containers.

    """
    names = [mode or "default", *endpoints]
    wanted = [name for name in dict.fromkeys(names) if is_cluster_network(name)]
    if wanted and not all(is_cluster_network(name) for name in names if name != "default"):
        raise invalid(
            f"conflicting options: a container of network {wanted[0]}, which is the cluster's, cannot have network "
            f"{next(name for name in names if name != 'default' and not is_cluster_network(name))} as well"
        )
    found: dict[str, AttachedNetwork] = {}
    for name in wanted:
        network = attachable(view, name)
        if network.id not in found or endpoints.get(name):
            found[network.id] = read_network(network, endpoints.get(name))
    return tuple(found.values())


def attachable(view: View, name: str) -> Network:
    """Find a network that unmanaged containers may join.

    Raises:
        EngineError: 400, there is no such network (after a 404 clients would pull the image); 403, it is for
            services only.

    """
    network = find_network(view, name)
    if network is None:
        raise invalid(f"network {name} not found")
    if not network.spec.attachable or network.spec.ingress:
        raise EngineError(
            403,
            f"Could not attach to network {network.name}: rpc error: code = PermissionDenied desc = network "
            f"{network.name} not manually attachable: make it with 'docker network create --attachable', or start "
            f"this as a service ('docker service create --network {network.name} …')",
        )
    return network


def read_network(network: Network, endpoint: Any) -> AttachedNetwork:
    """Read how a container is to be in a network.

    Raises:
        EngineError: 400, a field is of the wrong type, or an address that networks do not give out.

    """
    wanted = convert(RequestedEndpoint, normal(RequestedEndpoint, endpoint or {}))
    ipam = wanted.ipam_config or RequestedIpam()
    address = _address_behind(network, ipam) if ipam.ipv6_address else ipam.ipv4_address
    aliases = tuple(dict.fromkeys(wanted.aliases or ()))
    links = links_by_name(map(parse_link, wanted.links or ()))
    return AttachedNetwork(target=network.id, aliases=aliases, address=address, links=links)


def links_by_name(links: Iterable[Link]) -> dict[str, str]:
    """Return links as they are stored: name → the container's name, or its short id where it was named by its id."""
    return {link.alias: link.target[:12] if _FULL_ID.fullmatch(link.target) else link.target for link in links}


def _address_behind(network: Network, ipam: RequestedIpam) -> str:
    """Return the IPv4 address that the IPv6 one which is asked for follows from: it is all that is given out."""
    prefix = prefix_of(config.subnet for config in network.subnets)
    if prefix is None:
        raise invalid(f"network {network.name} has no IPv6: leave --ip6 out, or make the network with --ipv6")
    try:
        address = ipv4_in(prefix, IPv6Address(ipam.ipv6_address))
    except ValueError:
        raise invalid(f"invalid IPv6 address {ipam.ipv6_address!r} for network {network.name}") from None
    if address is None or ipam.ipv4_address not in ("", str(address)):
        ipv4 = ipam.ipv4_address or str(requestable_range(network)[0])
        raise invalid(
            f"containers of network {network.name} cannot have the address {ipam.ipv6_address}: theirs is {prefix} "
            f"with their IPv4 address at its end, as {with_ipv4(prefix, IPv4Address(ipv4))} for {ipv4}"
        )
    return str(address)


def parse_link(text: str) -> Link:
    """Read `CONTAINER`, `CONTAINER:ALIAS`, or what `inspect` shows, `/CONTAINER:/BY/ALIAS`.

    Raises:
        EngineError: 400, it is none of them.

    """
    target, _, alias = text.partition(":")
    if not target or ":" in alias:
        raise invalid(f"bad format for links: {text[:200]}")
    if target.startswith("/"):
        target, alias = target[1:], alias.rpartition("/")[2]
    return Link(target, alias or target)


def check_addresses(view: View, networks: tuple[AttachedNetwork, ...]) -> frozenset[str] | None:
    """Return the nodes that can give out all the addresses that are asked for; None when any node can.

    Raises:
        EngineError: 400, no container can have one of them; 409, somebody has it.

    """
    nodes = {node.id for node in view.nodes}
    asked = [each for each in networks if each.address]
    for each in asked:
        network = view.networks.get(each.target)
        if network is None:
            continue
        address = _check_address(view, network, each.address)
        holder = holder_of(network, address)
        nodes &= {holder} if holder else {node for node in nodes if node not in network.leases}
    return frozenset(nodes) if asked else None


def leased_networks(view: View, attachment: NetworkAttachment) -> Iterator[Network]:
    """Yield the networks of an attachment whose parts its node must get for the addresses that are asked for.

    Raises:
        EngineError: 400 or 409; an address cannot be had there.

    """
    for each in attachment.networks:
        network = view.networks.get(each.target)
        if network is None:
            raise invalid(f"network {each.target} not found: it has just been removed")
        if not each.address or attachment.end_in(each.target) is not None:
            continue
        given = lease_around(network, attachment.node_id, _check_address(view, network, each.address), len(view.nodes))
        if given is None:
            parts = ", ".join(sorted(f"{node_name(view, node_id)} {cidr}" for node_id, cidr in network.leases.items()))
            raise EngineError(
                409,
                f"address {each.address} of network {network.name} is not available on node "
                f"{node_name(view, attachment.node_id)}: every node has addresses of its own part, but for the "
                f"part's first two ({parts or 'no node has one yet'})",
            )
        yield given


def _check_address(view: View, network: Network, text: str) -> Any:
    try:
        return check_address(view, network, text)
    except InvalidArgument as error:
        raise invalid(error.message) from None


def endpoint(end: AttachedEnd, asked: AttachedNetwork | None, given: Any) -> dict[str, Any]:
    """Write a container's end of one of the engine's networks; what else the client said of it is kept.

    Its default route is not: by that of the cluster's way out the answers of published ports go.
    """
    lower = {"ipamconfig", "aliases", "links", "networkid", "endpointid", "gwpriority"}
    kept = {key: value for key, value in (given or {}).items() if key.lower() not in lower}
    addresses = {
        "IPv4Address": end.address or (asked.address if asked is not None else ""),
        "IPv6Address": end.address6,
    }
    ipam = {name: address for name, address in addresses.items() if address}
    return {
        **kept,
        **({"IPAMConfig": ipam} if ipam else {}),
        **({"Aliases": list(end.aliases)} if end.aliases else {}),
    }


def engine_ends(attachment: NetworkAttachment, given: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the engine's networks for an attachment, the one for the default route first: name and settings.

    `given` is what the client said of each, by the network's id.
    """
    asked = {each.target: each for each in attachment.networks}
    return [
        (end.network, endpoint(end, asked.get(end.network_id), given.get(end.network_id)))
        for end in attachment.status.ends
    ]


def with_networks(body: Mapping[str, Any], attachment: NetworkAttachment, first: tuple[str, Any]) -> dict[str, Any]:
    """Return a create body for the engine: its first network, the cluster's name server, the attachment's label."""
    changed = {"labels", "hostconfig", "networkingconfig"}
    host = _get(body, "HostConfig") or {}
    host = {key: value for key, value in host.items() if key.lower() not in {"networkmode", "dns", "mounts", "links"}}
    mounts = _get(_get(body, "HostConfig") or {}, "Mounts") or []
    if not _mounts_own(host, mounts):
        files = [{"Type": m.type, "Source": m.source, "Target": m.target} for m in attachment.status.mounts]
        mounts = [*mounts, *files]
    servers = attachment.status.dns or (attachment.dns.nameservers if attachment.dns is not None else ())
    return {
        **{key: value for key, value in body.items() if key.lower() not in changed},
        "Labels": {**(_get(body, "Labels") or {}), ATTACHMENT_LABEL: attachment.id},
        "HostConfig": {**host, "NetworkMode": first[0], "Dns": list(servers), "Mounts": mounts},
        "NetworkingConfig": {"EndpointsConfig": {first[0]: first[1]}},
    }


def _mounts_own(host: Mapping[str, Any], mounts: list[Any]) -> bool:
    """Whether a container brings its own resolv.conf."""
    binds = (str(bind).split(":") for bind in _get(host, "Binds") or ())
    targets = [parts[1] for parts in binds if len(parts) > 1]
    return _RESOLV in targets or any(_get(mount, "Target") == _RESOLV for mount in mounts)


def _get(body: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value in body.items() if key.lower() == name.lower()), None)


def endpoints_by_network(endpoints: Mapping[str, Any], view: View) -> dict[str, Any]:
    """Return what a client said of each network, by the network's id."""
    networks = ((find_network(view, name), value) for name, value in endpoints.items())
    return {network.id: value for network, value in networks if network is not None}

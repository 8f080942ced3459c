"""Which addresses a network gets: those that its user asked for, checked, or the next free part of the pool."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

import msgspec

from common.errors import InvalidArgument, ResourceExhausted
from common.model import Cluster, Network
from common.model.network import IpamConfig
from common.net import addressing
from common.net.addressing import ipv4_pools, is_address, layout
from common.wire.messages import MESH, MESH6
from manager.domain.network_parts import Range, first_free, network_of, range_of
from manager.store.view import View

AnyNetwork: TypeAlias = IPv4Network | IPv6Network

FIRST_VNI = 4097
LAST_VNI = (1 << 24) - 1
SMALLEST_SUBNET = 28
DOCKER_SUBNET_SIZE = 24

_OVERLAY = frozenset({"", "overlay"})
# "This network", loopback, multicast, and what is kept for the future (RFC 6890): no host takes packets from there.
_NOT_FOR_HOSTS = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4")))


def is_overlay(network: Network) -> bool:
    """Whether the cluster gives the network its addresses; others (host, bridge, …) are each engine's own."""
    return network.spec.driver.name in _OVERLAY and network.spec.scope in ("", "swarm")


def is_allocated(network: Network) -> bool:
    return bool(network.subnets and network.vni) or not is_overlay(network)


def allocate_network(view: View, network: Network) -> Network:
    """Return the network with its subnets and VNI. Called when it is created, so that its user sees a refusal.

    Raises:
        InvalidArgument: a subnet, range or gateway is malformed or does not fit, or overlaps what is named.
        ResourceExhausted: the cluster's pool has no free part.

    """
    return allocate_among(view, network, view.networks)


def allocate_among(view: View, network: Network, networks: Iterable[Network]) -> Network:
    """As `allocate_network`, beside these networks."""
    if is_allocated(network):
        return network
    others = [other for other in networks if other.id != network.id]
    subnets = network.subnets or tuple(_subnets(view, network, others))
    vni = network.vni or _free_vni(others)
    return msgspec.structs.replace(network, subnets=subnets, vni=vni)


def subnet_size(cluster: Cluster) -> int:
    """Return the prefix length of the subnets that the pool is divided into.

    Docker's `--default-addr-pool-mask-length` is 24 unless it is said. A subnet here has a part for every node, so the
    default is larger where the pool allows: /16 in a pool of /8. Any other size is taken as it is.
    """
    pool = ipv4_pools(cluster.default_addr_pool)[0]
    if cluster.subnet_size != DOCKER_SUBNET_SIZE:
        return min(max(cluster.subnet_size, pool.prefixlen), SMALLEST_SUBNET)
    return min(max(min(DOCKER_SUBNET_SIZE, pool.prefixlen + 8), pool.prefixlen + 2), SMALLEST_SUBNET)


def _subnets(view: View, network: Network, others: Sequence[Network]) -> list[IpamConfig]:
    """Check the user's subnets and choose the rest, IPv4 first: leases are parts of the first subnet."""
    cluster = view.cluster
    taken = list(_used_ranges(cluster, others))
    chosen: list[IpamConfig] = []
    for config in network.spec.ipam.configs:
        if config.subnet:
            subnet = _check_subnet(network, config, taken)
            _check_nodes(view, network, subnet)
            taken.append((subnet, f"its other subnet {subnet}"))
            chosen.append(_with_gateway(config, subnet))
    if not any(":" not in config.subnet for config in chosen):
        hosts = [(ipaddress.ip_network(address), name) for address, name in _host_addresses(view)]
        left_over = _orphaned_ranges(view, others)
        chosen.append(_with_gateway(IpamConfig(), _from_pool(cluster, [*taken, *hosts], left_over)))
    if network.spec.ipv6_enabled and not any(":" in config.subnet for config in chosen):
        own = IPv4Network(next(config.subnet for config in chosen if ":" not in config.subnet))
        chosen.append(_with_gateway(IpamConfig(), _from_pool6(cluster, taken, own)))
    found = sorted(chosen, key=lambda config: ":" in config.subnet)
    _check_ipv6_range(network, found)
    return found


def _used_ranges(cluster: Cluster, others: Iterable[Network]) -> Iterator[tuple[AnyNetwork, str]]:
    """Yield every range that is in use, and a description of its user."""
    tunnels, gateways = layout(cluster.default_addr_pool).reserved()
    yield tunnels, f"{tunnels}, which the cluster keeps for its tunnels"
    yield gateways, f"{gateways}, which the cluster keeps for its published ports"
    mesh = addressing.mesh_prefix(addressing.cluster_pools(cluster.id, cluster.default_addr_pool))
    if mesh is not None:
        yield mesh, f"{mesh}, which the cluster keeps for its published ports"
    for other in others:
        for config in other.subnets:
            yield ipaddress.ip_network(config.subnet), f"{config.subnet} of network {other.name!r}"


def _check_subnet(network: Network, config: IpamConfig, taken: Iterable[tuple[AnyNetwork, str]]) -> AnyNetwork:
    """Return the user's subnet if it is available."""
    subnet = _parse(network, "subnet", config.subnet)
    if isinstance(subnet, IPv4Network) and subnet.prefixlen > SMALLEST_SUBNET:
        raise _subnet_error(network, f"subnet {subnet} is too small: give at least /{SMALLEST_SUBNET}")
    if isinstance(subnet, IPv6Network):
        _check_ipv6(network, subnet)
    elif any(subnet.overlaps(part) for part in _NOT_FOR_HOSTS):
        raise _subnet_error(network, f"subnet {subnet} is not for hosts: give one such as 10.10.0.0/16")
    if config.range and not _contains(subnet, _parse(network, "ip-range", config.range)):
        raise _subnet_error(network, f"ip-range {config.range} is not inside the subnet {subnet}")
    if config.range and ipaddress.ip_network(config.range).prefixlen > SMALLEST_SUBNET and subnet.version == 4:
        raise _subnet_error(network, f"ip-range {config.range} is too small: give at least /{SMALLEST_SUBNET}")
    if config.gateway and not _contains(subnet, _gateway(network, config.gateway)):
        raise _subnet_error(network, f"gateway {config.gateway} is not inside the subnet {subnet}")
    for other, holder in taken:
        if other.version == subnet.version and other.overlaps(subnet):
            raise _subnet_error(network, f"subnet {subnet} overlaps {holder}: choose another")
    return subnet


def _check_nodes(view: View, network: Network, subnet: AnyNetwork) -> None:
    """Refuse a subnet with the address of a host: where its tasks run, that host would be reached no more.

    A host itself refuses what it has routes to, but for all that is behind its default route it has no other.
    """
    for address, name in _host_addresses(view):
        if address in subnet:
            raise _subnet_error(network, f"subnet {subnet} has the address of node {name}, {address}: choose another")


def _host_addresses(view: View) -> Iterator[tuple[IPv4Address | IPv6Address, str]]:
    """Yield the addresses by which hosts reach each other, with their nodes' names."""
    for node in view.nodes:
        manager = node.manager_status.addr if node.manager_status is not None else ""
        for address in (node.status.addr, manager.rpartition(":")[0].strip("[]")):
            if is_address(address):
                yield ipaddress.ip_address(address), node.description.hostname or node.id


def _check_ipv6(network: Network, subnet: IPv6Network) -> None:
    """Refuse what addresses that follow from IPv4 ones do not fit into (common.net.addressing)."""
    if not network.spec.ipv6_enabled:
        raise _subnet_error(network, f"subnet {subnet} is IPv6, and the network is not: give --ipv6 too")
    if subnet.prefixlen > addressing.SMALLEST_SUBNET:
        raise _subnet_error(network, f"subnet {subnet} is too small: give at least /{addressing.SMALLEST_SUBNET}")
    if subnet.is_link_local or subnet.is_multicast:
        raise _subnet_error(network, f"subnet {subnet} is not for hosts: give one such as fd00:20::/64")


def _check_ipv6_range(network: Network, configs: Sequence[IpamConfig]) -> None:
    """Refuse an IPv6 range that some of the addresses would be outside of: they follow from the IPv4 ones."""
    for config in configs:
        if ":" in config.range:
            area = IPv4Network(configs[0].range or configs[0].subnet)
            used = addressing.range_with_ipv4(IPv6Network(config.subnet), area)
            if not _contains(IPv6Network(config.range), used):
                raise _subnet_error(
                    network,
                    f"ip-range {config.range} would not hold the IPv6 addresses, which follow from the IPv4 ones of "
                    f"{area}: leave it out, or give --ip-range {used}",
                )


def _parse(network: Network, what: str, text: str) -> AnyNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise _subnet_error(network, f"{what} {text!r} is not a range such as 10.10.0.0/16: {error}") from error


def _gateway(network: Network, text: str) -> AnyNetwork:
    try:
        return ipaddress.ip_network(ipaddress.ip_address(text))
    except ValueError as error:
        raise _subnet_error(network, f"gateway {text!r} is not an address") from error


def _contains(subnet: AnyNetwork, part: AnyNetwork) -> bool:
    if isinstance(subnet, IPv4Network):
        return isinstance(part, IPv4Network) and part.subnet_of(subnet)
    return isinstance(part, IPv6Network) and part.subnet_of(subnet)


def _subnet_error(network: Network, problem: str) -> InvalidArgument:
    return InvalidArgument(f"network {network.name!r}: {problem}")


def _with_gateway(config: IpamConfig, subnet: AnyNetwork) -> IpamConfig:
    gateway = config.gateway or str(subnet.network_address + 1)
    return msgspec.structs.replace(config, subnet=str(subnet), gateway=gateway)


def _orphaned_ranges(view: View, networks: Iterable[Network]) -> list[Range]:
    """Return the addresses that tasks still have in networks which are none of these: removed ones.

    Until such a task has ended, its host has the old network, and cannot make one that overlaps it.
    """
    known = {MESH, MESH6, *(network.id for network in networks)}
    tasks = [task for task in view.tasks if not task.status.addresses.keys() <= known and task.placed]
    found = (address for task in tasks for key, address in task.status.addresses.items() if key not in known)
    return [range_of(IPv4Network(address)) for address in found if ":" not in address and is_address(address)]


def _from_pool(cluster: Cluster, taken: Iterable[tuple[AnyNetwork, str]], left_over: Iterable[Range]) -> IPv4Network:
    """Return the lowest free subnet of the cluster's pools, one with addresses that are left over only for want."""
    size = 1 << (32 - subnet_size(cluster))
    used: list[Range] = [range_of(other) for other, _ in taken if isinstance(other, IPv4Network)]
    for avoided in ([*used, *left_over], used):
        for pool in ipv4_pools(cluster.default_addr_pool):
            first = first_free(range_of(pool), size, avoided)
            if first is not None:
                return network_of(first, size)
    pools = ", ".join(cluster.default_addr_pool)
    text = f"no free subnet is left in the address pool {pools}: remove a network, or give this one a --subnet"
    raise ResourceExhausted(text)


def _from_pool6(cluster: Cluster, taken: Iterable[tuple[AnyNetwork, str]], own: IPv4Network) -> IPv6Network:
    """Return the IPv6 subnet that has the place in its pool which the network's IPv4 one has, else the next free one.

    So networks that have different IPv4 subnets, one after the other too, have different ones of these.
    """
    pools = addressing.ipv6_pools(addressing.cluster_pools(cluster.id, cluster.default_addr_pool))
    used = [range_of(other) for other, _ in taken if isinstance(other, IPv6Network)]
    for pool in pools:
        prefix = addressing.subnet_size(pool)
        size = 1 << (128 - prefix)
        first, end = range_of(pool)
        start = first + _place(cluster, own) % ((end - first) // size) * size
        for area in ((start, end), (first, start)):
            found = first_free(area, size, used)
            if found is not None:
                return IPv6Network((found, prefix))
    text = f"no free subnet is left in the address pool {', '.join(map(str, pools))}"
    raise ResourceExhausted(f"{text}: remove a network, or give this one a --subnet")


def _place(cluster: Cluster, subnet: IPv4Network) -> int:
    """Return which of the pool's parts an IPv4 subnet is, counted from 0; elsewhere another number that is its own."""
    pool = next((pool for pool in ipv4_pools(cluster.default_addr_pool) if subnet.subnet_of(pool)), None)
    first = int(pool.network_address) if pool is not None else 0
    return (int(subnet.network_address) - first) >> (32 - subnet_size(cluster))


def _free_vni(others: Iterable[Network]) -> int:
    used = {other.vni for other in others}
    return next(number for number in range(FIRST_VNI, LAST_VNI + 1) if number not in used)

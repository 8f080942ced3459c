"""The addresses that a host may say are its own.

An address must be one that another host can reach, and nobody else's: not another node's, not one that the cluster
gives to containers. That its connection comes from another one says nothing (there are hosts with several, and NAT);
but the one that it does come from it has, whoever else says so: two engines of one host are two nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from common.model import Node
from common.net.addressing import cluster_pools, layout, mesh_prefix
from common.text.terminal import quote
from manager.dispatch.intake.form import Implausible, MessageContext, Rule
from manager.dispatch.intake.scalars import several
from manager.store.view import View

MOST_ADDRESSES = 256
_Address: TypeAlias = IPv4Address | IPv6Address
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_BROADCAST = IPv4Address("255.255.255.255")


def observed_address(context: MessageContext) -> str:
    """Return the address that a connection comes from as its host's.

    Raises:
        Implausible: no other host would reach it there.

    """
    return str(_reachable(context.source, context))


def _one(value: str, context: MessageContext) -> str:
    return str(_own(value, context)) if value else value


def _ipv6(value: str, context: MessageContext) -> str:
    address = _own(value, context)
    if not isinstance(address, IPv6Address):
        raise Implausible(f"{address} is not an IPv6 address")
    return value if value == str(address) else str(address)


ADVERTISED = Rule("an address of this host alone", _one)
IPV6_ADDRESSES = several(Rule("", _ipv6), MOST_ADDRESSES, "IPv6 addresses of this host alone")


def _own(text: str, context: MessageContext) -> _Address:
    address = _reachable(text, context)
    found = str(address)
    node = context.node
    if found == context.source or (node is not None and found in _addresses_of(node)):
        return address
    if (holder := _holder(context.view, found, context.node_id)) is not None:
        raise Implausible(
            f"{found} is an address of node {holder.name or holder.id}: if that is gone for good, remove it with "
            f"'swarm-manager node rm {holder.id}'"
        )
    if (taken := next((each for each in _of_containers(context.view) if address in each), None)) is not None:
        raise Implausible(f"{found} is in {taken}, which the cluster gives to containers")
    return address


def _reachable(text: str, context: MessageContext) -> _Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise Implausible(f"{quote(text)} is not an IP address") from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise Implausible(f"{quote(text)} names a link of its host")
        address = address.ipv4_mapped or address
    kind = _kind(address)
    if kind and not (context.loopback and address.is_loopback):
        raise Implausible(f"{address} is {kind}: other nodes cannot reach this one there")
    return address


def _kind(address: _Address) -> str:
    """Say what an address is that is not one host's for all others; nothing if it can be."""
    if address.is_unspecified or (address in _THIS_NETWORK if isinstance(address, IPv4Address) else False):
        return "no host's address"
    kinds = {"a loopback address": address.is_loopback, "a link-local address": address.is_link_local}
    group = address.is_multicast or address == _BROADCAST
    return next((words for words, holds in kinds.items() if holds), "the address of a group" if group else "")


def _addresses_of(node: Node) -> tuple[str, ...]:
    return (node.status.addr, *node.description.ipv6_addresses)


def _holder(view: View, address: str, except_id: str) -> Node | None:
    """Return the node that has an address, of those that have not left; one that is down may come back with it."""
    others = (node for node in view.nodes if node.id != except_id and node.member)
    return next((node for node in others if address in _addresses_of(node)), None)


def _of_containers(view: View) -> Iterator[IPv4Network | IPv6Network]:
    cluster = view.cluster
    yield from _of_mesh(cluster.id, cluster.default_addr_pool)
    for network in view.networks:
        for config in network.subnets:
            if config.subnet:
                yield _range(config.subnet)


@lru_cache(maxsize=8)
def _of_mesh(cluster_id: str, pools: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    prefix = mesh_prefix(cluster_pools(cluster_id, pools))
    return (*layout(pools).reserved(), *([prefix] if prefix is not None else []))


@lru_cache(maxsize=4096)
def _range(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr)

"""The addresses that a worker may say its containers have: in its own part of a network, or of its gateway's range.

Other hosts send to them and answer names with them, so an address in another node's part, or in a network that the
container is not in, would be another's traffic. IPv6 addresses follow from the IPv4 ones (`common.net.addressing`):
there is one that is right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address

from common.errors import InvalidArgument
from common.model import Network
from common.net.addressing import (
    beside_ipv4,
    cluster_pools,
    container_addresses,
    is_address,
    layout,
    mesh_prefix,
    with_ipv4,
)
from common.text.terminal import quote
from common.wire.messages import MESH, MESH6
from manager.dispatch.intake.form import Implausible, MessageContext, Rule
from manager.domain.network_parts import addresses_in

_NO_ADDRESSES = range(0)
_OCTETS, _DIGITS, _LARGEST = 4, 3, 255


def check_own(text: str, network_id: str, context: MessageContext) -> None:
    """Check the address of a container of this node in a network, or at its gateway (`MESH`).

    Raises:
        Implausible: the address, or the network, is not this node's.

    """
    number = _number(text)
    if number is None:
        raise Implausible(f"{quote(text)} is not an IPv4 address")
    if network_id == MESH:
        if number not in mesh_addresses(context):
            raise Implausible(f"{text} is not an address of its gateway's range")
        return
    network = context.view.networks.get(network_id)
    if number not in part_addresses(network, context):
        where = f"its part of network {network.name}" if network is not None else "any network"
        raise Implausible(f"{text} is not an address of {where}")


def part_addresses(network: Network | None, context: MessageContext) -> range:
    """Return which addresses, as numbers, this node's containers have in a network; none where it has no part."""
    lease = context.lease(network) if network is not None else ""
    if network is None or not lease or not network.subnets:
        return _NO_ADDRESSES
    return addresses_in(lease, network.subnets[0].subnet)


def mesh_addresses(context: MessageContext) -> range:
    """Return which addresses, as numbers, this node's containers have at its gateway."""
    number = context.node.number if context.node is not None else 0
    return _gateway_addresses(context.view.cluster.default_addr_pool, number) if number else _NO_ADDRESSES


def check_beside(text: str, address: str, network_id: str, context: MessageContext) -> str:
    """Return the IPv6 address that a worker says goes with a container's IPv4 one (`check_own`), as it is written.

    Raises:
        Implausible: it is another than that.

    """
    expected = _beside(address, network_id, context)
    if text == expected:
        return text
    if expected and _is_same(text, expected):
        return expected
    raise Implausible(f"{quote(text)} is not the IPv6 address that goes with {address}")


def _beside(address: str, network_id: str, context: MessageContext) -> str:
    """Return the IPv6 address beside an IPv4 one in a network, or at the gateway; empty if none is."""
    if network_id == MESH:
        prefix = _mesh_prefix(context.view.cluster.id, context.view.cluster.default_addr_pool)
        return str(with_ipv4(prefix, IPv4Address(address))) if prefix is not None else ""
    network = context.view.networks.get(network_id)
    return beside_ipv4((config.subnet for config in network.subnets), address) if network is not None else ""


def _is_same(text: str, address: str) -> bool:
    return is_address(text) and ip_address(text) == ip_address(address)


def _of_task(said: Mapping[str, str], context: MessageContext) -> Mapping[str, str]:
    if not said:
        return said
    task = context.task
    networks = [each.target for each in task.spec.networks]
    known = task.status.addresses
    found = {key: address for key, address in said.items() if _may_have(key, address, networks, known, context)}
    if MESH6 in said and MESH in found:
        try:
            found[MESH6] = check_beside(said[MESH6], found[MESH], MESH, context)
        except Implausible as error:
            context.refuse(str(error))
    return said if found == said else found


def _may_have(
    key: str, address: str, networks: Collection[str], known: Mapping[str, str], context: MessageContext
) -> bool:
    """Whether a task may have an address. One accepted before stays, as while the network is taken from it."""
    if key == MESH6:
        return False  # looked at when that at the gateway is known
    if key != MESH and key not in networks:
        context.refuse(f"task {context.task.name} is not in network {quote(key)}")
        return False
    if known.get(key) == address and not _has_part(key, context):
        return True
    try:
        check_own(address, key, context)
    except Implausible as error:
        context.refuse(f"task {context.task.name}: {error}")
        return False
    return True


def _has_part(key: str, context: MessageContext) -> bool:
    network = context.view.networks.get(key)
    return key == MESH or (network is not None and bool(context.lease(network)))


TASK_ADDRESSES = Rule("in this node's part of the task's networks, or its gateway's range", _of_task)


def _number(text: str) -> int | None:
    """Read an IPv4 address as `ipaddress` does, several times as quickly: each task has some. None: it is not one."""
    octets = text.split(".")
    if len(octets) != _OCTETS or not text.isascii():
        return None
    number = 0
    for octet in octets:
        if not octet.isdigit() or len(octet) > _DIGITS or (octet[0] == "0" and octet != "0"):
            return None
        value = int(octet)
        if value > _LARGEST:
            return None
        number = number << 8 | value
    return number


@lru_cache(maxsize=1 << 13)
def _gateway_addresses(pools: tuple[str, ...], number: int) -> range:
    try:
        gateways = layout(pools).gateway_range(number)
    except InvalidArgument:  # a number of another pool
        return _NO_ADDRESSES
    return container_addresses(gateways, gateways)


@lru_cache(maxsize=8)
def _mesh_prefix(cluster_id: str, pools: tuple[str, ...]) -> IPv6Network | None:
    return mesh_prefix(cluster_pools(cluster_id, pools))

"""How a network is divided into parts for its nodes (`Network.leases`), and how many it has left. Pure.

Ranges are pairs of integers here: the first address, and the one after the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TypeAlias

from common.model import Network
from common.net.addressing import LARGEST_LEASE, SMALLEST_LEASE, container_addresses, vip_range

LARGEST_PART = 1 << (32 - LARGEST_LEASE)
SMALLEST_PART = 1 << (32 - SMALLEST_LEASE)
"""Addresses in a part. All that parts come from is made of blocks of the smallest size."""

Range: TypeAlias = tuple[int, int]


def address_range(network: Network) -> IPv4Network:
    """Return the range that an allocated network's addresses come from: its `--ip-range`, else its first subnet."""
    config = network.subnets[0]
    return IPv4Network(config.range or config.subnet)


def parts_area(network: Network) -> Range:
    """Return the addresses that parts come from: all but the virtual addresses at the front."""
    whole = address_range(network)
    return range_of(vip_range(whole))[1], range_of(whole)[1]


def parts_taken(network: Network) -> list[Range]:
    """Return what no new part may have of it: the parts there are, and the smallest block around the user's gateway."""
    gateway = network.subnets[0].gateway
    first = int(IPv4Address(gateway)) // SMALLEST_PART * SMALLEST_PART if gateway else 0
    return [(first, first + SMALLEST_PART), *map(range_of_cidr, network.leases.values())]


def parts_left(network: Network) -> int:
    """Return how many parts of the smallest size an allocated network has left.

    Parts are shares of what is free, divided by more nodes than there are to come. So if this is at least the number of
    nodes without a part, each of them can have one; if it is less, so many of them can.
    """
    return free_addresses(parts_area(network), parts_taken(network)) // SMALLEST_PART


@lru_cache(maxsize=1 << 16)
def addresses_in(part: str, subnet: str) -> range:
    """Return the addresses, as numbers, for containers in a node's part of a network with that subnet (both CIDR)."""
    return container_addresses(IPv4Network(part), IPv4Network(subnet))


def containers_in(part: str, subnet: str) -> int:
    """Return how many containers have room in a node's part of a network with that subnet (both CIDR)."""
    return len(addresses_in(part, subnet))


def range_of(network: IPv4Network | IPv6Network) -> Range:
    first = int(network.network_address)
    return first, first + network.num_addresses


@lru_cache(maxsize=1 << 16)
def range_of_cidr(cidr: str) -> Range:
    """Read an IPv4 network; cached, as a network's leases are read again for each new node."""
    return range_of(IPv4Network(cidr))


def network_of(first: int, size: int) -> IPv4Network:
    """Return the IPv4 network of `size` addresses, a power of two, that begins at `first`."""
    return IPv4Network((first, 33 - size.bit_length()))


def first_free(within: Range, size: int, taken: Iterable[Range]) -> int | None:
    """Find the lowest block of `size` addresses (a power of two, aligned) in `within` that meets none of `taken`."""
    position = _align(within[0], size)
    for first, end in sorted(taken):
        if first >= position + size:
            break
        if end > position:
            position = _align(end, size)
    return position if position + size <= within[1] else None


def free_addresses(within: Range, taken: Iterable[Range]) -> int:
    """Count the addresses of `within` that are in none of `taken`."""
    free, position = 0, within[0]
    for first, end in sorted(taken):
        free += max(0, min(first, within[1]) - position)
        position = max(position, min(end, within[1]))
    return free + max(0, within[1] - position)


def _align(position: int, size: int) -> int:
    return -(-position // size) * size

"""How a network is divided into parts for its nodes (`Network.leases`), and how many it has left. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from common.addressing import LARGEST_LEASE, SMALLEST_LEASE, container_addresses, vip_range
from common.model import Network
from manager.state.ranges import Range, free_addresses, range_of, range_of_cidr

LARGEST_PART = 1 << (32 - LARGEST_LEASE)
SMALLEST_PART = 1 << (32 - SMALLEST_LEASE)
"""Addresses in a part. All that parts come from is made of blocks of the smallest size."""


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

"""Ranges of addresses as pairs of integers: the first address, and the one after the last."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]


def range_of(network: IPv4Network | IPv6Network) -> Range:
    first = int(network.network_address)
    return first, first + network.num_addresses


@lru_cache(maxsize=1 << 16)
def range_of_cidr(cidr: str) -> Range:
    """Read an IPv4 network; kept, as a network's leases are read anew for each node that comes."""
    return range_of(IPv4Network(cidr))


def network_of(first: int, size: int) -> IPv4Network:
    """Return the IPv4 network of `size` addresses, a power of two, that begins at `first`."""
    return IPv4Network((first, 33 - size.bit_length()))


def first_free(within: Range, size: int, taken: Iterable[Range]) -> int | None:
    """Find the lowest block of `size` addresses (a power of two, aligned) in `within` that meets none of `taken`."""
    position = _aligned(within[0], size)
    for first, end in sorted(taken):
        if first >= position + size:
            break
        if end > position:
            position = _aligned(end, size)
    return position if position + size <= within[1] else None


def free_addresses(within: Range, taken: Iterable[Range]) -> int:
    """Count the addresses of `within` that are in none of `taken`."""
    free, position = 0, within[0]
    for first, end in sorted(taken):
        free += max(0, min(first, within[1]) - position)
        position = max(position, min(end, within[1]))
    return free + max(0, within[1] - position)


def _aligned(position: int, size: int) -> int:
    return -(-position // size) * size

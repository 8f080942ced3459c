"""IPv6 addresses that follow from IPv4 ones: what managers and workers must agree on beside `common.addressing`.

    pool fdxx:xxxx:xxxx::/48     the first IPv6 pool of `--default-addr-pool`, else one made from the cluster's id
      networks                   from the front, a /64 each (a /96 in a pool smaller than /56)
      tunnels and gateways       the last /96

    a dual-stack network         fd00:1::/64 beside 10.1.0.0/16
      a task's address           the prefix with the task's IPv4 address at its end: fd00:1::10.1.16.2, fd00:1::a01:1002
      a service's address, a node's part, a gateway: likewise

So nobody leases, stores or sends a second address for anything: whoever has the network and the IPv4 address has both.
A subnet must have room for that, so the smallest is a /96. Addresses that a pool is made of are local (RFC 4193).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from common.errors import InvalidArgument

# What a port that is published at ::1 alone is published at for IPv4, where a node's worker carries it to.
LOOPBACK6_AS_IPV4 = "127.0.0.6"
SMALLEST_SUBNET = 96
SMALLEST_POOL = 95
_USUAL_SUBNET = 64
_ROOM_FOR_USUAL = 56
_LOCAL_PREFIX = 0xFD
_GLOBAL_ID_BYTES = 5


def prefix_of(subnets: Iterable[str]) -> IPv6Network | None:
    """Return the IPv6 one among a network's subnets; None where it has none."""
    return next((IPv6Network(subnet) for subnet in subnets if ":" in subnet), None)


def with_ipv4(prefix: IPv6Network, address: IPv4Address) -> IPv6Address:
    """Return the IPv6 address of what has an IPv4 address, in a network with this prefix."""
    return prefix.network_address + int(address)


def beside_ipv4(subnets: Iterable[str], address: str) -> str:
    """Return the IPv6 address of what has this IPv4 one in a network with these subnets; empty where it has none."""
    prefix = prefix_of(subnets)
    return str(with_ipv4(prefix, IPv4Address(address))) if prefix is not None and address else ""


def ipv4_in(prefix: IPv6Network, address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one follows from (`with_ipv4`); None when it follows from none."""
    number = int(address) - int(prefix.network_address)
    return IPv4Address(number) if 0 <= number < 1 << (128 - SMALLEST_SUBNET) else None


def packed_prefix(prefix: IPv6Network) -> bytes:
    """Return what `with_ipv4` puts before the four bytes of an IPv4 address."""
    return prefix.network_address.packed[:-4]


def range_with_ipv4(prefix: IPv6Network, part: IPv4Network) -> IPv6Network:
    """Return the range of all that has its IPv4 address in `part`."""
    return IPv6Network((int(with_ipv4(prefix, part.network_address)), SMALLEST_SUBNET + part.prefixlen))


def cluster_pools(cluster_id: str, pools: Sequence[str]) -> tuple[str, ...]:
    """Return a cluster's pools with an IPv6 one among them: where the operator gave none, one made from the id."""
    if any(":" in pool for pool in pools):
        return tuple(pools)
    digest = hashlib.sha256(f"ipv6 pool {cluster_id}".encode()).digest()
    first = int.from_bytes(bytes((_LOCAL_PREFIX,)) + digest[:_GLOBAL_ID_BYTES]) << 80
    return (*pools, str(IPv6Network((first, 48))))


def ipv6_pools(pools: Sequence[str]) -> tuple[IPv6Network, ...]:
    """Read the IPv6 pools among a cluster's pools, in their order; there may be none.

    Raises:
        InvalidArgument: one is not a CIDR, or has no room for networks.

    """
    found = []
    for text in pools:
        if ":" not in text:
            continue
        try:
            pool = ip_network(text)
        except ValueError as error:
            raise InvalidArgument(f"address pool {text!r} is not a range such as fd00:20::/48: {error}") from error
        if pool.prefixlen > SMALLEST_POOL:
            raise InvalidArgument(f"address pool {pool} is too small: give one of at least /{SMALLEST_POOL}")
        assert isinstance(pool, IPv6Network), "it has a colon"
        found.append(pool)
    return tuple(found)


def mesh_prefix(pools: Sequence[str]) -> IPv6Network | None:
    """Return the prefix of tunnels and gateways, which no network may overlap; None without an IPv6 pool.

    Raises:
        InvalidArgument: as `ipv6_pools`.

    """
    found = ipv6_pools(pools)
    if not found:
        return None
    end = int(found[0].broadcast_address) + 1
    return IPv6Network((end - (1 << (128 - SMALLEST_SUBNET)), SMALLEST_SUBNET))


def subnet_size(pool: IPv6Network) -> int:
    """Return the prefix length of the subnets that a pool is divided into."""
    return _USUAL_SUBNET if pool.prefixlen <= _ROOM_FOR_USUAL else SMALLEST_SUBNET

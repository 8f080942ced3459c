"""How a cluster's address pool is divided: the arithmetic that manager and workers must agree on.

    pool 10.0.0.0/8      the first IPv4 pool of `swarm-manager init --default-addr-pool`
      networks           from the front: 10.0.0.0/16, 10.1.0.0/16, …
      tunnels            the addresses before the gateways, one a node: 10.239.240.0/20
      gateways           the last sixteenth, a range a node: node 1 has 10.240.1.0/24, node 4095 10.255.255.0/24

    a network's range 10.1.0.0/16 (its `--ip-range`, else its subnet)
      virtual addresses  the first sixteenth: 10.1.0.0/20
      nodes              the rest, a lease each (`Network.leases`), at most 256 addresses: 10.1.16.0/24, …

A smaller pool has smaller gateway ranges and fewer node numbers: 10.20.0.0/16 has room for 63 nodes with 64 addresses
each. Node numbers begin at 1.

IPv6 addresses follow from these:

    pool fdxx:xxxx:xxxx::/48     the first IPv6 pool of `--default-addr-pool`, else one made from the cluster's id
      networks                   from the front, a /64 each (a /96 in a pool smaller than /56)
      tunnels and gateways       the last /96

    a dual-stack network         fd00:1::/64 beside 10.1.0.0/16
      a task's address           the prefix, the task's IPv4 address at its end: fd00:1::10.1.16.2, fd00:1::a01:1002
      a service's address, a node's part, a gateway: likewise

So nobody leases, stores or sends a second address: whoever has the network and the IPv4 address has both. A subnet
must have room for that, so the smallest is a /96. Addresses that a pool is made of are local (RFC 4193).

Hosts' names, as nodes of the cluster have them, are checked here, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from common.errors import InvalidArgument

SMALLEST_POOL = 24
LARGEST_LEASE = 24
SMALLEST_LEASE = 29

# UDP, where encrypted networks end on every node: for keys of even generations the first, of odd ones the second.
WIREGUARD_PORTS = (51877, 51878)
# As what a port or a server listens on: all of a host's addresses.
ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - read, not bound

_GATEWAY_SHARE_BITS = 4
_NUMBER_BITS = 12
_GATEWAY_HOST_BITS = 8
_VIP_SHARE_BITS = 4
_VIP_SMALLEST = 27

# What a port that is published at ::1 alone is published at for IPv4, where a node's worker carries it to.
LOOPBACK6_AS_IPV4 = "127.0.0.6"
SMALLEST_SUBNET = 96
SMALLEST_POOL6 = 95
_USUAL_SUBNET = 64
_ROOM_FOR_USUAL = 56
_LOCAL_PREFIX = 0xFD
_GLOBAL_ID_BYTES = 5
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address without brackets, the latter perhaps with its link (`fe80::1%eth0`)."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(text: str) -> bool:
    """Whether a text is an address by which a host reaches itself alone."""
    return is_address(text) and ip_address(text).is_loopback


def is_one_host(text: str) -> bool:
    """Whether a text is an IP address that one host may have: not `0.0.0.0`, which is any, and no group's."""
    if not is_address(text):
        return False
    address = ip_address(text)
    return not (address.is_unspecified or address.is_multicast)


@dataclass(frozen=True, slots=True)
class Layout:
    """One pool, divided. `numbers` is the highest node number that it has room for."""

    pool: IPv4Network
    gateways: IPv4Network
    numbers: int

    @property
    def tunnels(self) -> tuple[IPv4Address, IPv4Address]:
        """The first and the last address set aside for tunnels; the first is number 0, which no node has."""
        first = int(self.gateways.network_address) - self.numbers - 1
        return IPv4Address(first), IPv4Address(first + self.numbers)

    def gateway_range(self, number: int) -> IPv4Network:
        """Return the range of a node's gateway network, from which the mesh's containers get their addresses.

        Raises:
            InvalidArgument: no node of this pool can have the number.

        """
        self._check(number)
        size = self.gateways.num_addresses // (self.numbers + 1)
        first = int(self.gateways.network_address) + number * size
        return IPv4Network((first, 32 - (size.bit_length() - 1)))

    def tunnel_address(self, number: int) -> IPv4Address:
        """Return the address of a node's end of the overlay tunnel.

        Raises:
            InvalidArgument: no node of this pool can have the number.

        """
        self._check(number)
        return self.tunnels[0] + number

    def reserved(self) -> tuple[IPv4Network, ...]:
        """Return what no network may overlap: the tunnels and the gateways."""
        first, _ = self.tunnels
        return IPv4Network((int(first), 32 - self.numbers.bit_length())), self.gateways

    def _check(self, number: int) -> None:
        if not 1 <= number <= self.numbers:
            text = (
                f"node number {number} does not fit the address pool {self.pool}: it has room for 1 to {self.numbers}"
            )
            raise InvalidArgument(text)


def layout(pools: Sequence[str]) -> Layout:
    """Divide the first IPv4 pool of a cluster (`Cluster.default_addr_pool`).

    Raises:
        InvalidArgument: there is no IPv4 pool, it is not a CIDR, or it is smaller than a /24.

    """
    pool = ipv4_pools(pools)[0]
    if pool.prefixlen > SMALLEST_POOL:
        raise InvalidArgument(f"address pool {pool} is too small: give one of at least /{SMALLEST_POOL}")
    bits = 32 - pool.prefixlen - _GATEWAY_SHARE_BITS
    number_bits = min(_NUMBER_BITS, bits - min(_GATEWAY_HOST_BITS, bits // 2))
    size = 1 << bits
    first = int(pool.broadcast_address) + 1 - size
    return Layout(pool, IPv4Network((first, 32 - bits)), (1 << number_bits) - 1)


def ipv4_pools(pools: Sequence[str]) -> tuple[IPv4Network, ...]:
    """Read the IPv4 pools among a cluster's pools, in their order.

    Raises:
        InvalidArgument: one is not a CIDR, or none is IPv4.

    """
    found = []
    for text in pools:
        try:
            network = ip_network(text)
        except ValueError as error:
            raise InvalidArgument(f"address pool {text!r} is not a range such as 10.0.0.0/8: {error}") from error
        if isinstance(network, IPv4Network):
            found.append(network)
    if not found:
        raise InvalidArgument("no IPv4 address pool: give one, such as --default-addr-pool 10.0.0.0/8")
    return tuple(found)


def tunnel_address(pools: Sequence[str], number: int) -> str:
    """Return a node's tunnel address in the cluster's pools, as text; errors as `Layout.tunnel_address`."""
    return str(layout(pools).tunnel_address(number))


def gateway_range(pools: Sequence[str], number: int) -> str:
    """Return the CIDR of a node's gateway network in the cluster's pools; errors as `Layout.gateway_range`."""
    return str(layout(pools).gateway_range(number))


def one_address(text: str) -> str:
    """Return the one address that is listened on, empty for all."""
    return "" if text in ANY_ADDRESS else text


def container_addresses(lease: IPv4Network, subnet: IPv4Network) -> range:
    """Return the addresses, as numbers, that containers get of a node's part of a network.

    The part's own address is nobody's, the second one its bridge's, and the subnet's last one is for broadcasts.
    """
    first, end = int(lease.network_address) + 2, int(lease.broadcast_address) + 1
    return range(first, end - (lease.broadcast_address == subnet.broadcast_address))


def vip_range(network: IPv4Network) -> IPv4Network:
    """Return the part of a network's range that holds its virtual addresses: the first sixteenth, at least 32.

    A range so small that this were all of it gives its first half.
    """
    prefix = max(network.prefixlen + 1, min(network.prefixlen + _VIP_SHARE_BITS, _VIP_SMALLEST))
    return IPv4Network((int(network.network_address), min(prefix, 32)))


# --- IPv6 ---


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
        if pool.prefixlen > SMALLEST_POOL6:
            raise InvalidArgument(f"address pool {pool} is too small: give one of at least /{SMALLEST_POOL6}")
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


def is_hostname(text: str) -> bool:
    """Whether a host can have this name: at most 253 letters, digits, `.`, `_`, `-`; the first and last no mark."""
    return _HOSTNAME.fullmatch(text) is not None


def same_name(one: str, other: str) -> bool:
    """Whether two names are one host's to those who look it up: upper and lower case make no difference."""
    return fold(one) == fold(other)


def fold(name: str) -> str:
    return name.casefold()

"""How a cluster's address pool is divided: the arithmetic that manager and workers must agree on.

    pool 10.0.0.0/8      the first IPv4 pool of `swarm-manager init --default-addr-pool`
      networks           from the front: 10.0.0.0/16, 10.1.0.0/16, …
      tunnels            the addresses before the gateways, one a node: 10.239.240.0/20
      gateways           the last sixteenth, a range a node: node 1 has 10.240.1.0/24, node 4095 10.255.255.0/24

    a network's range 10.1.0.0/16 (its `--ip-range`, else its subnet)
      virtual addresses  the first sixteenth: 10.1.0.0/20
      nodes              the rest, a lease each (`Network.leases`), at most 256 addresses: 10.1.16.0/24, …

A smaller pool has smaller gateway ranges and fewer node numbers: 10.20.0.0/16 has room for 63 nodes with 64 addresses
each. Everything is IPv4; node numbers begin at 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

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
        raise InvalidArgument("no IPv4 address pool: give one such as --default-addr-pool 10.0.0.0/8")
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

"""The IPv6 half of a host's place in the cluster's networks. Pure.

Nothing is leased for it: each address follows from an IPv4 one and its network's prefix (`common.addressing6`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from common.addressing6 import range_with_ipv4, with_ipv4
from worker.net.site import Segment, Site, leases_of


@dataclass(frozen=True, slots=True)
class Segment6:
    """A dual-stack network on this host; `within`: the part of its subnet in which addresses are."""

    segment: Segment
    prefix: IPv6Network

    @property
    def within(self) -> IPv6Network:
        return range_with_ipv4(self.prefix, self.segment.subnet)

    @property
    def vips(self) -> IPv6Network:
        return range_with_ipv4(self.prefix, self.segment.vips)

    @property
    def lease(self) -> IPv6Network:
        return range_with_ipv4(self.prefix, self.segment.lease)

    @property
    def gateway(self) -> IPv6Address:
        return with_ipv4(self.prefix, self.segment.gateway)


@dataclass(frozen=True, slots=True)
class Site6:
    """The addresses of a host whose containers have IPv6, and its peers'. `segments`: the dual-stack ones."""

    site: Site
    mesh: IPv6Network

    @property
    def segments(self) -> Iterator[Segment6]:
        for segment in self.site.segments.values():
            if segment.prefix6 is not None:
                yield Segment6(segment, segment.prefix6)

    @property
    def gateways(self) -> IPv6Network:
        """The range of this node's gateway network."""
        return range_with_ipv4(self.mesh, self.site.gateways)

    @property
    def all_gateways(self) -> IPv6Network:
        return range_with_ipv4(self.mesh, self._pool(1))

    @property
    def tunnels(self) -> IPv6Network:
        return range_with_ipv4(self.mesh, self._pool(0))

    @property
    def tunnel(self) -> IPv6Address:
        return self.of(self.site.tunnel)

    def of(self, address: IPv4Address) -> IPv6Address:
        """Return what a tunnel or gateway has beside its IPv4 address."""
        return with_ipv4(self.mesh, address)

    def peers(self) -> Iterator[tuple[int, IPv6Address, IPv6Network]]:
        """Yield each peer's number, tunnel address and gateway range."""
        assert self.site.pool is not None, "asked only of a host with a number"
        for number in self.site.peers:
            yield (
                number,
                self.of(self.site.pool.tunnel_address(number)),
                range_with_ipv4(self.mesh, self.site.pool.gateway_range(number)),
            )

    def leases_of(self, segment: Segment6) -> Iterator[tuple[int, IPv6Network]]:
        """Yield each peer's part of a network, by its number."""
        for number, lease in leases_of(segment.segment, self.site.peers):
            yield number, range_with_ipv4(segment.prefix, lease)

    def _pool(self, part: int) -> IPv4Network:
        assert self.site.pool is not None, "asked only of a host with a number"
        return self.site.pool.reserved()[part]


def ipv6(site: Site) -> Site6 | None:
    """Return the IPv6 half; None where containers have no IPv6."""
    return Site6(site, site.mesh6) if site.mesh6 is not None else None

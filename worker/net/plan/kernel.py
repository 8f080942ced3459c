"""What the kernel is to have for the overlay: a tunnel, its neighbours and routes, as values. Pure.

A `link` is one of the host's by its name, under which its number is looked up; it is sent to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from worker.intake.identifiers import AddressText, InterfaceName

MAIN_TABLE = 254
LOCAL_TABLE = 255


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The VXLAN link; `local` is the address that its packets come from, one of this host's."""

    name: InterfaceName
    mac: AddressText
    vni: int
    port: int
    local: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Bridge:
    """A network's bridge, which Docker makes; `address` is its own, with the length of the subnet's prefix."""

    name: InterfaceName
    address: AddressText
    prefix: int
    mtu: int


@dataclass(frozen=True, slots=True)
class Address:
    """An address with its prefix's length. An IPv6 one is good at once, without asking whether another host has it."""

    link: str
    address: AddressText


@dataclass(frozen=True, slots=True)
class HardwareAddress:
    """The hardware address of a link that is not the tunnel."""

    link: str
    mac: AddressText


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An address on a link that is known without asking."""

    link: str
    address: AddressText
    mac: AddressText


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Where the tunnel sends frames for a hardware address."""

    link: str
    mac: AddressText
    host: AddressText


@dataclass(frozen=True, slots=True)
class Route:
    """`destination` is a CIDR; through `gateway`, or, without one, the host's own addresses (type local)."""

    destination: AddressText
    link: str
    gateway: AddressText | None = None
    source: AddressText | None = None
    table: int = MAIN_TABLE


Item: TypeAlias = HardwareAddress | Address | Neighbour | Forwarding | Route

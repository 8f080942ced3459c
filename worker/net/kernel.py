"""What the kernel is to have for the overlay: a tunnel, its neighbours and routes, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

MAIN_TABLE = 254
LOCAL_TABLE = 255


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The VXLAN link; `local` is the address that its packets come from."""

    name: str
    mac: str
    vni: int
    port: int
    local: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Bridge:
    """A network's bridge, which Docker makes; `address` is its own, with the length of the subnet's prefix."""

    name: str
    address: str
    prefix: int
    mtu: int


@dataclass(frozen=True, slots=True)
class Address:
    """An address with its prefix's length. An IPv6 one is good at once, without asking whether another host has it."""

    link: str
    address: str


@dataclass(frozen=True, slots=True)
class HardwareAddress:
    """The hardware address of a link that is not the tunnel."""

    link: str
    mac: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An address on a link that is known without asking."""

    link: str
    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Where the tunnel sends frames for a hardware address."""

    link: str
    mac: str
    host: str


@dataclass(frozen=True, slots=True)
class Route:
    """`destination` is a CIDR; through `gateway`, or, without one, the host's own addresses (type local)."""

    destination: str
    link: str
    gateway: str = ""
    source: str = ""
    table: int = MAIN_TABLE


Item: TypeAlias = HardwareAddress | Address | Neighbour | Forwarding | Route

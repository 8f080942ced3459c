"""Addresses, ranges and ports as others write them, read strictly. Nothing is ever looked up. Pure.

An address is four or sixteen bytes, in exactly the usual form: no zone (`%eth0`), no shorter or octal form, as the C
library's and Python's own readers take some of.
"""

from __future__ import annotations

import enum
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple, TypeAlias

from worker.intake.identifiers import AddressText, Unusable, quote_foreign

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPRange: TypeAlias = IPv4Network | IPv6Network

# What reads many addresses: four or sixteen bytes, or OSError or ValueError where a text is not one.
pack4, pack6 = partial(inet_pton, AF_INET), partial(inet_pton, AF_INET6)

LAST_PORT = 65535
_THIS_NETWORK, _EVERYBODY = IPv4Network("0.0.0.0/8"), IPv4Address("255.255.255.255")
# What a port may be published at that means all addresses of a host.
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - read, not bound


class Protocol(enum.StrEnum):
    """Of a published port."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class Port(NamedTuple):
    """A published port of a host, at one address of it, or at all (None)."""

    protocol: Protocol
    number: int
    address: IPAddress | None = None

    def __str__(self) -> str:
        at = "" if self.address is None else f"[{self.address}]:" if self.address.version == 6 else f"{self.address}:"
        return f"{at}{self.number}/{self.protocol}"


def address4(text: str) -> IPv4Address:
    """Read an IPv4 address.

    Raises:
        Unusable: it is not one.

    """
    try:
        return IPv4Address(pack4(text))
    except (OSError, ValueError):
        raise Unusable(f"{quote_foreign(text)} is not an IPv4 address") from None


def address6(text: str) -> IPv6Address:
    """Read an IPv6 address; errors as `address4`."""
    try:
        return IPv6Address(pack6(text))
    except (OSError, ValueError):
        raise Unusable(f"{quote_foreign(text)} is not an IPv6 address") from None


def address(text: str) -> IPAddress:
    """Read an address of either family; errors as `address4`."""
    return address6(text) if ":" in text else address4(text)


def host4(text: str) -> IPv4Address:
    """Read an address that a host can be reached at by others; errors as `address4`."""
    found = address4(text)
    if found.is_loopback or found in _THIS_NETWORK or found.is_multicast or found == _EVERYBODY:
        raise Unusable(f"{found} is not the address of another host")
    return found


def host6(text: str) -> IPv6Address:
    """Read an address that a host can be reached at from other links; errors as `address4`."""
    found = address6(text)
    if found.is_loopback or found.is_unspecified or found.is_multicast or found.is_link_local or found.ipv4_mapped:
        raise Unusable(f"{found} is not the address of another host")
    return found


def range4(text: str) -> IPv4Network:
    """Read a range as ADDRESS/LENGTH; errors as `address4`."""
    first, length = _parts(text, 32)
    try:
        return IPv4Network((int(address4(first)), length))
    except ValueError:
        raise Unusable(f"{quote_foreign(text)} does not begin where such a range does") from None


def range6(text: str) -> IPv6Network:
    """Read a range as ADDRESS/LENGTH; errors as `address4`."""
    first, length = _parts(text, 128)
    try:
        return IPv6Network((int(address6(first)), length))
    except ValueError:
        raise Unusable(f"{quote_foreign(text)} does not begin where such a range does") from None


def port_number(number: int) -> int:
    """Return a number that a port can have; errors as `address4`."""
    if not 1 <= number <= LAST_PORT:
        raise Unusable(f"{number} is not a port")
    return number


def socket_address(text: str) -> tuple[IPAddress, int]:
    """Read ADDRESS:PORT or [ADDRESS]:PORT; a name is none. Errors as `address4`."""
    host, _, number = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (":" in bare) != (bare is not host) or not (number.isascii() and number.isdecimal() and len(number) <= 5):
        raise Unusable(f"{quote_foreign(text)} is not an address and a port")
    return address(bare), port_number(int(number))


def port(protocol: str, number: int, at: str) -> Port:
    """Read a published port; errors as `address4`."""
    try:
        known = Protocol(protocol)
    except ValueError:
        raise Unusable(f"{quote_foreign(protocol)} is not a protocol of ports") from None
    return Port(known, port_number(number), None if at in _EVERYWHERE else address(at))


def text_of(value: bytes | IPAddress | IPRange) -> AddressText:
    """Write an address, packed or not, or a range, as the kernel's tools do."""
    if isinstance(value, bytes):
        return str.__new__(AddressText, inet_ntop(AF_INET if len(value) == 4 else AF_INET6, value))
    if isinstance(value, IPv4Address | IPv4Network):
        return str.__new__(AddressText, str(value))
    return AddressText(str(value))  # which may have a zone


def _parts(text: str, longest: int) -> tuple[str, int]:
    first, _, length = text.partition("/")
    if not (length.isascii() and length.isdecimal() and len(length) <= 3 and int(length) <= longest):
        raise Unusable(f"{quote_foreign(text)} is not a range such as 10.1.0.0/16")
    return first, int(length)

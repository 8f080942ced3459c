"""`network create --subnet --ip-range --gateway --aux-address`: address ranges of a network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from common.errors import InvalidArgument

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def ipam_configs(
    subnets: Iterable[str], ranges: Iterable[str], gateways: Iterable[str], auxiliary: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Put each range, gateway and address into the subnet that contains it.

    Raises:
        InvalidArgument: one is no address, is in no subnet, or subnets overlap.

    """
    known = [_network("subnet", text) for text in subnets]
    _refuse_overlap(known)
    configs: list[dict[str, Any]] = [{"Subnet": str(subnet)} for subnet in known]
    for text in ranges:
        inner = _network("ip-range", text)
        _one(configs, known, inner.network_address, f"no matching subnet for range {text}", IPRange=text)
    for text in gateways:
        _one(configs, known, _address("gateway", text), f"no matching subnet for gateway {text}", Gateway=text)
    for name, text in auxiliary.items():
        place = _place(known, _address("aux-address", text), f"no matching subnet for aux-address {text}")
        configs[place].setdefault("AuxiliaryAddresses", {})[name] = text
    return configs


def _one(
    configs: list[dict[str, Any]],
    known: list[IPNetwork],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    problem: str,
    **value: str,
) -> None:
    config = configs[_place(known, address, problem)]
    for key in value:
        if key in config:
            raise InvalidArgument(f"cannot configure two of {key} in subnet {config['Subnet']}")
    config.update(value)


def _place(known: list[IPNetwork], address: ipaddress.IPv4Address | ipaddress.IPv6Address, problem: str) -> int:
    for index, subnet in enumerate(known):
        if address.version == subnet.version and address in subnet:
            return index
    raise InvalidArgument(problem)


def _network(kind: str, text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"invalid {kind} {text}: {error}") from error


def _address(kind: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid {kind} {text}: {error}") from error


def _refuse_overlap(known: list[IPNetwork]) -> None:
    for index, subnet in enumerate(known):
        for other in known[:index]:
            if subnet.version == other.version and subnet.overlaps(other):
                raise InvalidArgument("multiple overlapping subnet configuration is not supported")

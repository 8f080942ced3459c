"""A service's endpoint: numbers for published ports that it left open, and virtual addresses. Pure.

A service has a virtual address in each of its networks, unless it wants its tasks' own (`dnsrr`). With a port in the
routing mesh it has one in the `ingress` network, too. Nothing answers there, as the mesh answers at the nodes' own
addresses, but clients expect one, as every engine gives it: Prometheus makes its targets of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import TypeAlias

import msgspec

from common.errors import ResourceExhausted
from common.model import Network, Service
from common.model.service import PortConfig, VirtualIP
from common.net.addressing import vip_range
from common.net.engine_networks import PREDEFINED_NETWORKS
from manager.domain.network_parts import address_range

PortKey: TypeAlias = tuple[str, int]

FIRST_DYNAMIC = 30000
LAST_DYNAMIC = 32767

# The start of the search for a free address goes once round a network's in so many seconds, or faster in a small one.
_ROUND_SECONDS = 30.0
_PLACES_A_SECOND = 16


class PortsInUse:
    """The port numbers that services hold, read from them once a decision, and what the decision adds."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._holders: dict[PortKey, set[str]] = {}
        for service in services:
            for port in service.published_ports:
                self._holders.setdefault((port.protocol, port.published_port), set()).add(service.id)

    def choose(self, service_id: str, protocol: str) -> int:
        """Return the lowest free dynamic port and take it.

        Raises:
            ResourceExhausted: no dynamic port is free.

        """
        for number in range(FIRST_DYNAMIC, LAST_DYNAMIC + 1):
            if (protocol, number) not in self._holders:
                self._holders[protocol, number] = {service_id}
                return number
        raise ResourceExhausted(
            f"no {protocol} port from {FIRST_DYNAMIC} to {LAST_DYNAMIC} is free: publish a fixed one"
        )

    def only_holder(self, service_id: str, port: PortConfig) -> bool:
        """Whether nobody but the service has the port's number."""
        return self._holders.get((port.protocol, port.published_port), set()) <= {service_id}


def choose_ports(service: Service, used: PortsInUse) -> tuple[PortConfig, ...]:
    """Return the service's ports with a number for each ingress port that leaves it open; what was chosen before stays.

    Raises:
        ResourceExhausted: no dynamic port is free.

    """
    ports = service.spec.ports
    fixed = {(port.protocol, port.published_port) for port in ports}
    earlier = [
        port
        for port in (service.endpoint.ports if service.endpoint else ())
        if (port.protocol, port.published_port) not in fixed
    ]
    return tuple(_assign_port(service.id, port, earlier, used) for port in ports)


def _assign_port(service_id: str, port: PortConfig, earlier: list[PortConfig], used: PortsInUse) -> PortConfig:
    if port.published_port or port.publish_mode != "ingress":
        return port
    for before in earlier:
        like = msgspec.structs.replace(before, published_port=0)
        dynamic = FIRST_DYNAMIC <= before.published_port <= LAST_DYNAMIC
        if like == port and dynamic and used.only_holder(service_id, before):
            earlier.remove(before)
            return before
    return msgspec.structs.replace(port, published_port=used.choose(service_id, port.protocol))


# --- virtual addresses ---


class AddressesInUse:
    """The virtual addresses that services have, read from them once a decision, and what the decision adds."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._holders: dict[tuple[str, str], str] = {}
        for service in services:
            if service.endpoint is not None:
                for vip in service.endpoint.virtual_ips:
                    self._holders.setdefault((vip.network_id, vip.addr), service.id)

    def holder(self, network_id: str, address: str) -> str:
        """Return the id of the service that has the address, empty when it is free."""
        return self._holders.get((network_id, address), "")

    def take(self, vip: VirtualIP, service_id: str) -> None:
        self._holders[vip.network_id, vip.addr] = service_id


def targets(service: Service) -> Iterable[str]:
    """Return the ids of the cluster's networks that the service's tasks join, each once."""
    template = service.spec.task_template.networks
    wanted = (each.target for each in (*template, *service.spec.networks))
    return dict.fromkeys(target for target in wanted if target not in PREDEFINED_NETWORKS)


def choose_vips(
    service: Service, networks: Iterable[Network], used: AddressesInUse, now: float
) -> tuple[VirtualIP, ...]:
    """Return the service's virtual address in each of these networks, which are allocated; those that it has it keeps.

    In an `ingress` network without any left it has none.

    Raises:
        ResourceExhausted: another network has no virtual address left.

    """
    mode = service.spec.endpoint_spec.mode if service.spec.endpoint_spec else ""
    if mode == "dnsrr":
        return ()
    mine = {vip.network_id: vip for vip in service.endpoint.virtual_ips} if service.endpoint else {}
    found = (_vip(service, network, mine, used, now) for network in networks)
    return tuple(vip for vip in found if vip is not None)


def _vip(
    service: Service, network: Network, mine: dict[str, VirtualIP], used: AddressesInUse, now: float
) -> VirtualIP | None:
    kept = mine.get(network.id)
    if kept is not None and used.holder(network.id, kept.addr) == service.id:
        return kept
    try:
        vip = VirtualIP(network_id=network.id, addr=_free_address(network, used, now))
    except ResourceExhausted:
        if network.spec.ingress:
            return None
        raise
    used.take(vip, service.id)
    return vip


def _free_address(network: Network, used: AddressesInUse, now: float) -> str:
    """Search from a start that moves with the time, so that an address that was just freed is not reused at once.

    Some client may still send it traffic that is meant for the earlier service.
    """
    area = vip_range(address_range(network))
    gateway = network.subnets[0].gateway
    count = area.num_addresses - 1  # the range's own address is not used
    start = int(now * max(_PLACES_A_SECOND, count / _ROUND_SECONDS))
    for step in range(count):
        address = str(IPv4Address(int(area.network_address) + 1 + (start + step) % count))
        if address != gateway and not used.holder(network.id, address):
            return address
    text = f"network {network.name!r} has no virtual address left in {area}: use endpoint mode dnsrr or a larger subnet"
    raise ResourceExhausted(text)

"""Published ports that services leave open: each gets a free one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from common.errors import ResourceExhausted
from common.model import Service
from common.model.service import PortConfig
from manager.domain.port_conflicts import ports_of

PortKey: TypeAlias = tuple[str, int]

FIRST_DYNAMIC = 30000
LAST_DYNAMIC = 32767


class PortsInUse:
    """The port numbers that services hold, read from them once a decision, and what the decision adds."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._holders: dict[PortKey, set[str]] = {}
        for service in services:
            for port in ports_of(service):
                self._holders.setdefault((port.protocol, port.published_port), set()).add(service.id)

    def choose(self, service_id: str, protocol: str) -> int:
        """Return the lowest free dynamic port and take it.

        Raises:
            ResourceExhausted: there is none.

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
    return tuple(_numbered(service.id, port, earlier, used) for port in ports)


def _numbered(service_id: str, port: PortConfig, earlier: list[PortConfig], used: PortsInUse) -> PortConfig:
    if port.published_port or port.publish_mode != "ingress":
        return port
    for before in earlier:
        like = msgspec.structs.replace(before, published_port=0)
        dynamic = FIRST_DYNAMIC <= before.published_port <= LAST_DYNAMIC
        if like == port and dynamic and used.only_holder(service_id, before):
            earlier.remove(before)
            return before
    return msgspec.structs.replace(port, published_port=used.choose(service_id, port.protocol))

"""Published ports that go from one service of a stack to another in one deploy: they are given up first. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from common.model import Service
from common.model.service import PortConfig, ServiceSpec
from common.spec.published_ports import conflict


def without_passed_on(present: Service, wanted: ServiceSpec, others: Iterable[ServiceSpec]) -> Service:
    """Return a service without the ports that others are to have and it is not.

    `others` are the stack's other services as they are to be.
    """
    asked = [port for other in others for port in other.ports if not _in_conflict(port, wanted.ports)]
    endpoint, spec = present.endpoint, present.spec
    if endpoint is not None:
        endpoint = msgspec.structs.replace(endpoint, ports=_kept_ports(endpoint.ports, asked))
    if spec.endpoint_spec is not None:
        ports = _kept_ports(spec.endpoint_spec.ports, asked)
        spec = msgspec.structs.replace(spec, endpoint_spec=msgspec.structs.replace(spec.endpoint_spec, ports=ports))
    return msgspec.structs.replace(present, spec=spec, endpoint=endpoint)


def _kept_ports(ports: Iterable[PortConfig], asked: Iterable[PortConfig]) -> tuple[PortConfig, ...]:
    wanted = tuple(asked)
    return tuple(port for port in ports if not _in_conflict(port, wanted))


def _in_conflict(port: PortConfig, others: Iterable[PortConfig]) -> bool:
    return bool(port.published_port) and any(conflict(port, other) for other in others)

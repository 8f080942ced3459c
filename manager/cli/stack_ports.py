"""Published ports that go from one service of a stack to another in one deploy: they are given up first. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from common.model.service import PortConfig, ServiceSpec
from manager.domain.port_conflicts import conflict


def without_passed_on(present: ServiceSpec, wanted: ServiceSpec, others: Iterable[ServiceSpec]) -> ServiceSpec | None:
    """Return what a service is without the ports that others are to have and it is not; None when there are none.

    `others` are the stack's other services as they are to be.
    """
    asked = [port for other in others for port in other.ports if not _in_conflict(port, wanted.ports)]
    kept = tuple(port for port in present.ports if not _in_conflict(port, asked))
    if present.endpoint_spec is None or kept == present.endpoint_spec.ports:
        return None
    return msgspec.structs.replace(present, endpoint_spec=msgspec.structs.replace(present.endpoint_spec, ports=kept))


def _in_conflict(port: PortConfig, others: Iterable[PortConfig]) -> bool:
    return bool(port.published_port) and any(conflict(port, other) for other in others)

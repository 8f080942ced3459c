"""Whether two published ports can be had at once. Pure."""

from __future__ import annotations

from common.model.service import PortConfig
from common.net.addressing import ANY_ADDRESS


def conflict(one: PortConfig, other: PortConfig) -> bool:
    """Whether two services cannot have both ports: they are the same, and at least one is published on every node."""
    return is_same(one, other) and "ingress" in (one.publish_mode, other.publish_mode)


def is_same(one: PortConfig, other: PortConfig) -> bool:
    """Whether both are one port number of one protocol, on an address that both listen on."""
    anywhere = one.host_ip in ANY_ADDRESS or other.host_ip in ANY_ADDRESS
    same_number = (one.protocol, one.published_port) == (other.protocol, other.published_port)
    return same_number and (anywhere or one.host_ip == other.host_ip)

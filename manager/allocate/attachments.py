"""Unmanaged containers' attachments to networks: how long a record stays, and which address it may have. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network

from common.errors import AlreadyExists, InvalidArgument
from common.model import Network, NetworkAttachment
from common.net.addressing import vip_range
from manager.domain.network_parts import (
    address_range,
)
from manager.store.changes import Decision
from manager.store.view import View

LEASE_LINGER = 60.0
"""Seconds for which a node keeps its part of a network after its last task or unmanaged container there ended."""
DRAINED_LINGER = 10.0
"""As `LEASE_LINGER`, of a drained node: what was sent to its containers is no longer on its way."""
UNBOUND_SECONDS = 300.0
"""Seconds after which an attachment without a container counts as abandoned."""


def is_in(attachment: NetworkAttachment, network_id: str) -> bool:
    return any(each.target == network_id for each in attachment.networks)


def decide(view: View, keys: Collection[str], now: float, _: random.Random) -> Decision:
    """Remove those of the attachments `keys` (ids) that ended, are of removed nodes, or were never used."""
    remove: list[NetworkAttachment] = []
    wake_at: dict[str, float] = {}
    reasons: list[str] = []
    for attachment in filter(None, map(view.attachments.get, keys)):
        due = _due(view, attachment, now)
        if due is None:
            continue
        if due > now:
            wake_at[attachment.id] = due
            continue
        remove.append(attachment)
        if attachment.live:
            reasons.append(
                f"attachment of container {attachment.name or attachment.id} is removed: it has no container"
            )
    return Decision(remove=tuple(remove), wake_at=wake_at, reasons=tuple(reasons))


def _due(view: View, attachment: NetworkAttachment, now: float) -> float | None:
    """Return when a record is removed (Unix seconds); None while its container exists."""
    node = view.nodes.get(attachment.node_id)
    if node is None:
        return now
    if not attachment.live:
        return attachment.ended_at + LEASE_LINGER
    if attachment.container:
        return None
    # Only a connected worker can say that there is no container.
    due = attachment.created_at + UNBOUND_SECONDS
    return due if due > now or node.status.state == "ready" else now + LEASE_LINGER


def holders(view: View, network_id: str) -> Iterator[tuple[str, str]]:
    """Yield (name, address) of all tasks and unmanaged containers in a network."""
    for task in view.tasks:
        if not task.status.state.terminal and network_id in task.status.addresses:
            yield task.name, task.status.addresses[network_id]
    for attachment in view.attachments:
        for each in attachment.networks if attachment.live else ():
            end = attachment.end_in(each.target)
            if each.target == network_id and (end is not None or each.address):
                yield attachment.name, end.address if end is not None else each.address


def requestable_range(network: Network) -> tuple[IPv4Address, IPv4Address]:
    """Return the first and the last address that a container may ask for. Each part's first two are its node's own."""
    area = address_range(network)
    return vip_range(area).broadcast_address + 3, area.broadcast_address - 1


def check_address(view: View, network: Network, text: str) -> IPv4Address:
    """Check an address that a container is to have in an allocated network.

    Raises:
        InvalidArgument: no container of the network can have it; the message says which are possible.
        AlreadyExists: it is in use; names the holder.

    """
    subnet = IPv4Network(network.subnets[0].subnet)
    area = address_range(network)
    try:
        address = IPv4Address(text)
    except ValueError:
        raise InvalidArgument(f"invalid IPv4 address {text!r} for network {network.name}") from None
    edges = (subnet.network_address, subnet.broadcast_address)
    if address not in area or address in vip_range(area) or address in edges or text == network.subnets[0].gateway:
        first, last = requestable_range(network)
        raise InvalidArgument(
            f"containers of network {network.name} cannot have the address {text}: choose one from {first} to {last}"
        )
    for name, taken in holders(view, network.id):
        if taken == text:
            raise AlreadyExists(f"address {text} of network {network.name} is in use by {name}")
    return address

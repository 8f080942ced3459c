"""Plain containers' attachments to networks: how long a record stays, and which address it may ask for. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

import msgspec

from common.errors import AlreadyExists, InvalidArgument
from common.model import Network, NetworkAttachment
from common.net.addressing import vip_range
from manager.domain.network_parts import (
    LARGEST_PART,
    SMALLEST_PART,
    Range,
    address_range,
    first_free,
    free_addresses,
    network_of,
    parts_area,
    parts_taken,
    range_of,
)
from manager.store.changes import Decision
from manager.store.view import View

LEASE_LINGER = 60.0
"""Seconds that a node keeps its part of a network after its last task or plain container there ended."""
DRAINED_LINGER = 10.0
"""As `LEASE_LINGER`, of a drained node: what was sent to its containers is no longer on its way."""
UNBOUND_SECONDS = 300.0
"""An attachment without a container for so long is one whose making was cut short."""


def is_in(attachment: NetworkAttachment, network_id: str) -> bool:
    return any(each.target == network_id for each in attachment.networks)


def decide(view: View, keys: Collection[str], now: float, _: random.Random) -> Decision:
    """Decide which of the attachments with these ids go: the ended, those of nodes that left, those never used."""
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
    """Return when a record goes; None while nothing but its container's end can end it."""
    node = view.nodes.get(attachment.node_id)
    if node is None:
        return now
    if not attachment.live:
        return attachment.ended_at + LEASE_LINGER
    if attachment.container:
        return None
    # Only a worker that is there can say that there is no container after all.
    due = attachment.created_at + UNBOUND_SECONDS
    return due if due > now or node.status.state == "ready" else now + LEASE_LINGER


def holders(view: View, network_id: str) -> Iterator[tuple[str, str]]:
    """Yield who has which address in a network, tasks and plain containers: (name, address)."""
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
        InvalidArgument: it is none that a container of the network can have; says which can.
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


# Each node's part of a network: `Network.leases`, node id → CIDR.
#
# A part's size is a fair share: what is free, divided by the nodes that have none yet and some more to come. So a
# large subnet gives 256 addresses a node, a small one less, and a growing cluster finds room for its next node.


_SMALL_CLUSTER = 32


def lease(network: Network, node_ids: Iterable[str], nodes: int) -> tuple[Network, Collection[str]]:
    """Give each of the nodes a part, in a cluster of `nodes`. Return the network, and the nodes that found no room."""
    leases = dict(network.leases)
    area, taken = parts_area(network), parts_taken(network)
    without: list[str] = []
    for node_id in node_ids:
        if node_id in leases:
            continue
        part = _part(area, taken, max(1, nodes - len(leases)) + _to_come(nodes))
        if part is None:
            without.append(node_id)
        else:
            leases[node_id] = str(part)
            taken.append(range_of(part))
    return _with_leases(network, leases), without


def holder_of(network: Network, address: IPv4Address) -> str:
    """Return the id of the node that has the part with an address, empty when none has."""
    return next((node_id for node_id, cidr in network.leases.items() if address in IPv4Network(cidr)), "")


def lease_around(network: Network, node_id: str, address: IPv4Address, nodes: int) -> Network | None:
    """Give a node the part that an address is in. None when it cannot be: it has another one, or somebody has that."""
    if node_id in network.leases:
        return network if holder_of(network, address) == node_id else None
    area, taken = parts_area(network), parts_taken(network)
    share = free_addresses(area, taken) // (max(1, nodes - len(network.leases)) + _to_come(nodes))
    size = min(LARGEST_PART, max(SMALLEST_PART, 1 << max(0, share.bit_length() - 1)))
    while size >= SMALLEST_PART:
        first = int(address) // size * size
        if area[0] <= first and first_free((first, min(first + size, area[1])), size, taken) == first:
            part = network_of(first, size)
            if address in (part[0], part[1]):
                return None  # the part's own, and its bridge's
            return _with_leases(network, {**network.leases, node_id: str(part)})
        size //= 2
    return None


def release(network: Network, node_ids: Collection[str]) -> Network:
    return _with_leases(network, {node: cidr for node, cidr in network.leases.items() if node not in node_ids})


def _with_leases(network: Network, leases: Mapping[str, str]) -> Network:
    return network if leases == network.leases else msgspec.structs.replace(network, leases=dict(leases))


def _to_come(nodes: int) -> int:
    """Return for how many nodes more to leave room: a few in a small cluster, as many again in one that grows large."""
    return nodes if nodes > _SMALL_CLUSTER else nodes // 4 + 2


def _part(area: Range, taken: Collection[Range], shares: int) -> IPv4Network | None:
    """Return the next part, a share of what is free; a smaller one where that does not fit."""
    share = free_addresses(area, taken) // shares
    size = min(LARGEST_PART, max(SMALLEST_PART, 1 << max(0, share.bit_length() - 1)))
    while size >= SMALLEST_PART:
        first = first_free(area, size, taken)
        if first is not None:
            return network_of(first, size)
        size //= 2
    return None

"""What the dispatcher writes into node records, as values that are applied many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from common.model.node import ANY_CERTIFICATE, Node, NodeDescription, NodeStatus
from manager.state.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Ready:
    """A session began, under the certificate with this serial."""

    node_id: str
    description: NodeDescription
    addr: str
    serial: str


@dataclass(frozen=True, slots=True)
class Described:
    """The worker says that its host changed."""

    node_id: str
    description: NodeDescription


@dataclass(frozen=True, slots=True)
class Down:
    """The node was lost."""

    node_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Left:
    """The worker left on purpose: its certificate is worth nothing from now on."""

    node_id: str


NodeWrite: TypeAlias = Ready | Described | Down | Left


def apply_node_writes(tx: Transaction, batch: Sequence[NodeWrite]) -> None:
    """Apply in order: what came last holds. Nodes that were removed meanwhile are passed over."""
    for write in batch:
        node = tx.nodes.get(write.node_id)
        if node is None:
            continue
        changed = _changed(node, write)
        if changed != node:
            tx.put(changed)


def _changed(node: Node, write: NodeWrite) -> Node:
    match write:
        case Ready():
            return msgspec.structs.replace(
                node,
                description=write.description,
                status=NodeStatus(state="ready", addr=write.addr),
                agent=True,
                certificate_serials=_serials_after(node.certificate_serials, write.serial),
            )
        case Described():
            return msgspec.structs.replace(node, description=write.description)
        case Down():
            return msgspec.structs.replace(node, status=_down(node, write.message))
        case Left():
            # A manager stays a ready node when its worker leaves; another worker may join in its row.
            manages = node.manager_status is not None
            status = node.status if manages else _down(node, "the worker has left the swarm")
            return msgspec.structs.replace(node, status=status, agent=not manages, certificate_serials=())


def _down(node: Node, message: str) -> NodeStatus:
    return NodeStatus(state="down", message=message, addr=node.status.addr)


def _serials_after(serials: tuple[str, ...], used: str) -> tuple[str, ...]:
    """Once the newest certificate is in use, the ones before it are worth nothing."""
    return (used,) if serials and serials[-1] in (used, ANY_CERTIFICATE) else serials

"""The dispatcher's writes to node records, as values that are applied in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from common.model.node import ANY_CERTIFICATE, LEFT, ClockOffset, Node, NodeDescription, NodeSpec, NodeStatus
from common.net.addressing import same_name
from manager.domain import hostnames
from manager.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Ready:
    """A session began, under the certificate with this serial."""

    node_id: str
    description: NodeDescription
    addr: str
    serial: str
    image_port: int = 0


@dataclass(frozen=True, slots=True)
class Described:
    """The worker says that its host changed."""

    node_id: str
    description: NodeDescription


@dataclass(frozen=True, slots=True)
class Away:
    """The agent was stopped on purpose, and has `grace` seconds to come back."""

    node_id: str
    grace: float


@dataclass(frozen=True, slots=True)
class Down:
    """The node was lost."""

    node_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Left:
    """The worker left on purpose: its certificate is no longer valid."""

    node_id: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """The worker has stored the certificate with this serial."""

    node_id: str
    serial: str


@dataclass(frozen=True, slots=True)
class ClockChecked:
    """The worker's clock is so many seconds ahead of the manager's (negative: behind); 0: it agrees again."""

    node_id: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The worker cancels its join."""

    node_id: str


@dataclass(frozen=True, slots=True)
class JoinExpired:
    """No session followed a join in time."""

    node_id: str


_Report: TypeAlias = Ready | Described | Renewed | ClockChecked | Away | Down
NodeWrite: TypeAlias = _Report | Left | Withdrawn | JoinExpired


def apply_node_writes(tx: Transaction, batch: Sequence[NodeWrite]) -> None:
    """Apply writes in order. Nodes that were removed meanwhile are skipped."""
    for write in batch:
        node = tx.nodes.get(write.node_id)
        if node is None:
            continue
        changed = _change_node(tx, node, write)
        if changed is None:
            tx.remove(node)
        elif changed != node:
            tx.put(changed)


def _change_node(tx: Transaction, node: Node, write: NodeWrite) -> Node | None:
    """Return the changed node; None if it is to be removed."""
    match write:
        case Withdrawn():
            return _without_worker(node)
        case JoinExpired():
            return node if node.joining is None else _without_worker(node)
        case Left():
            # A manager stays a ready node when its worker leaves; another worker may join in its row.
            manages = node.manager_status is not None
            status = _ready(node) if manages else _down(node, LEFT)
            return msgspec.structs.replace(
                node, status=status, agent=not manages, certificate_serials=(), joining=None, clock_offset=None
            )
        case _:
            return _apply_report(tx, node, write)


def _apply_report(tx: Transaction, node: Node, write: _Report) -> Node:
    match write:
        case Ready():
            return msgspec.structs.replace(
                _with_description(tx, node, write.description),
                spec=_spec_of(node),
                status=NodeStatus(state="ready", addr=write.addr),
                agent=True,
                image_port=write.image_port,
                certificate_serials=_serials_after(node.certificate_serials, write.serial),
                certificate_step=_step_after(node, write.serial),
                joining=None,
                clock_offset=node.clock_offset if write.description.clock else None,
            )
        case Described():
            return _with_description(tx, node, write.description)
        case Renewed():
            return msgspec.structs.replace(node, certificate_step=_step_after(node, write.serial))
        case ClockChecked(seconds=seconds):
            return msgspec.structs.replace(node, clock_offset=_offset_after(node.clock_offset, seconds, tx.now))
        case Away():
            message = f"its agent was stopped and has {write.grace:g} s to come back; its containers keep running"
            status = NodeStatus(state="disconnected", message=message, addr=node.status.addr)
            return msgspec.structs.replace(node, status=status)
        case Down():
            return msgspec.structs.replace(node, status=_down(node, write.message))


def _with_description(tx: Transaction, node: Node, description: NodeDescription) -> Node:
    """Return a node with a validated description.

    The host name is another only at the first session of the manager's own worker: which is for `node.hostname` what
    the worker's engine calls the host, unless another node has that name.
    """
    changed = msgspec.structs.replace(node, description=description)
    if same_name(changed.name, node.name):
        return changed
    if node.name and hostnames.holder(tx, changed.name, node.id) is not None:
        kept = msgspec.structs.replace(description, hostname=node.description.hostname)
        return msgspec.structs.replace(node, description=kept)
    return hostnames.with_new_name(tx, changed)


def _without_worker(node: Node) -> Node | None:
    """Return a node whose worker never came: the manager's own node, else None."""
    if node.manager_status is None:
        return None
    return msgspec.structs.replace(node, status=_ready(node), agent=False, certificate_serials=(), joining=None)


def _spec_of(node: Node) -> NodeSpec:
    """Return a node's spec with the labels and availability of its join."""
    joining = node.joining
    if joining is None:
        return node.spec
    labels = {**node.spec.labels, **joining.labels}
    return msgspec.structs.replace(
        node.spec, labels=labels, availability=joining.availability or node.spec.availability
    )


def _down(node: Node, message: str) -> NodeStatus:
    return NodeStatus(state="down", message=message, addr=node.status.addr)


def _ready(node: Node) -> NodeStatus:
    return NodeStatus(state="ready", addr=node.status.addr)


def _offset_after(before: ClockOffset | None, seconds: int, now: float) -> ClockOffset | None:
    if not seconds:
        return None
    return ClockOffset(seconds=seconds, since=before.since if before is not None else now)


def _step_after(node: Node, used: str) -> int:
    """Return the authority's step of the certificate with the serial `used`."""
    serials = node.certificate_serials
    return node.next_certificate_step if serials and serials[-1] == used else node.certificate_step


def _serials_after(serials: tuple[str, ...], used: str) -> tuple[str, ...]:
    """Return the valid serials: once the newest certificate is in use, earlier ones are not."""
    return (used,) if serials and serials[-1] in (used, ANY_CERTIFICATE) else serials

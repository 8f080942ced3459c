"""Which nodes are managers, and where others reach them. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from common.model import Node
from common.model.node import NodeStatus
from manager.store.view import View


def managers(view: View) -> list[Node]:
    """Return the nodes that are managers, the oldest first."""
    found = [node for node in view.nodes if node.spec.role == "manager" and node.manager_status is not None]
    return sorted(found, key=lambda node: (node.created_at, node.id))


def address(node: Node) -> str:
    """Return where a manager's cluster port is, `host:port`; empty if the node is not a manager."""
    return node.manager_status.addr if node.manager_status is not None else ""


def is_awaited(node: Node) -> bool:
    """Whether a node has joined as a manager, and its manager has not come up since."""
    return node.manager_status is not None and node.manager_status.awaited


def addresses(view: View, first: str = "") -> tuple[str, ...]:
    """Return the managers' addresses (`host:port`), `first` before the others."""
    found = dict.fromkeys([first, *map(address, managers(view))])
    return tuple(filter(None, found))


def without_manager(node: Node) -> Node:
    """Return the record of a demoted manager, without valid manager certificates."""
    gone = NodeStatus(state="down", message="it was a manager, and has no worker", addr=node.status.addr)
    return replace(
        node,
        status=node.status if node.agent or node.manager_status is None else gone,
        spec=replace(node.spec, role="worker"),
        manager_status=None,
        manager_serials=(),
        etcd_addr="",
    )

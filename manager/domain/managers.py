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
    """Return where a manager's cluster port is, `host:port`; empty for a node that is no manager."""
    return node.manager_status.addr if node.manager_status is not None else ""


def is_awaited(node: Node) -> bool:
    """Whether a node has joined as a manager, and was not heard of as one since."""
    return node.manager_status is not None and node.manager_status.awaited


def addresses(view: View, first: str = "") -> tuple[str, ...]:
    """Return where managers are, one that is to be tried before the others first."""
    found = dict.fromkeys([first, *map(address, managers(view))])
    return tuple(filter(None, found))


def without_manager(node: Node) -> Node:
    """Return a node's record when it is a manager no more: none of its certificates as one is valid."""
    gone = NodeStatus(state="down", message="it was a manager, and has no worker", addr=node.status.addr)
    return replace(
        node,
        status=node.status if node.agent or node.manager_status is None else gone,
        spec=replace(node.spec, role="worker"),
        manager_status=None,
        manager_serials=(),
        etcd_addr="",
    )

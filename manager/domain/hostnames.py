"""Who has a host name: of several nodes of one name, the node that had it first, until it leaves or is renamed.

`node.hostname==X` means that one alone, so that a host which joins as X gets nothing that was meant for another. The
others' records say `hostname_taken`. Upper and lower case make no difference, as for constraints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

import msgspec

from common.model import Node
from common.net.addressing import fold
from common.spec.constraints import Constraint
from manager.store.view import View


def nodes_called(view: View, name: str) -> list[Node]:
    """Return the nodes of a name that have not left, the one that came first first."""
    return sorted((node for node in view.nodes.called(fold(name)) if node.member), key=attrgetter("created_at", "id"))


def holder(view: View, name: str, except_id: str = "") -> Node | None:
    """Return the node that has a name, other than `but`; None when none has."""
    others = (node for node in nodes_called(view, name) if node.id != except_id)
    return next((node for node in others if not node.hostname_taken), None)


def with_new_name(view: View, node: Node) -> Node:
    """Return a node as it is recorded with a name that it has just got."""
    taken = bool(node.name) and holder(view, node.name, node.id) is not None
    return node if taken == node.hostname_taken else msgspec.structs.replace(node, hostname_taken=taken)


def resolve_name_conflicts(view: View, name: str) -> Iterator[Node]:
    """Yield the nodes of a name whose records are to be changed, so that exactly one of them has it."""
    nodes = nodes_called(view, name)
    first = next((node for node in nodes if not node.hostname_taken), next(iter(nodes), None))
    for node in nodes:
        taken = node is not first
        if taken != node.hostname_taken:
            yield msgspec.structs.replace(node, hostname_taken=taken)


def ambiguous(view: View, constraints: Iterable[Constraint]) -> Iterator[str]:
    """Warn of constraints on a host name that several nodes have: they mean the one that had it first."""
    for constraint in constraints:
        nodes = nodes_called(view, constraint.hostname) if constraint.hostname else []
        if len(nodes) > 1:
            first = next((node for node in nodes if not node.hostname_taken), nodes[0])
            yield (
                f"constraint {constraint.expression}: {len(nodes)} nodes have that host name, and it means {first.id}, "
                "which had it first: give the others another with 'swarm-manager node update --hostname NAME NODE'"
            )


def warnings(view: View, node: Node, name: str) -> Iterator[str]:
    """Warn of another node that has the name with which a node joins."""
    other = holder(view, name, node.id)
    if other is not None:
        yield (
            f"node {other.id} ({other.status.state}) has the host name {name} already: constraints on node.hostname "
            f"mean that one; remove it if it is gone ('swarm-manager node rm {other.id}'), or call this one something "
            f"else ('swarm-manager node update --hostname NAME {node.id}')"
        )


def node_name(view: View, node_id: str) -> str:
    """Return what people call a node; its id if it has no name or has left."""
    node = view.nodes.get(node_id)
    return (node.name if node is not None else "") or node_id

"""Whose a container is that several nodes say they have. Pure but for what the index learns.

An id is one container's, on one node: that which made it through this API, or was the first to be seen with it, as long
as it still says so; else the node of the task that has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from manager.api.containers_index import ContainerIndex
from manager.api.errors import EngineError
from manager.api.proxy_presence import node_name
from manager.state.view import View


def task_nodes(view: View) -> dict[str, str]:
    """Return the nodes of tasks' containers, by container; without those that tasks of several nodes say are theirs."""
    nodes: dict[str, str] = {}
    for task in view.tasks:
        full_id = task.container
        if full_id:
            nodes[full_id] = task.node_id if nodes.get(full_id, task.node_id) == task.node_id else ""
    return nodes


def settle(
    index: ContainerIndex, view: View, listed: Mapping[str, Collection[str]], *, whole: bool
) -> dict[tuple[str, str], str]:
    """Judge lists of container ids, by node. `whole`: they are of all that each node has.

    Returns the node that has it, by node and id, for each that is another node's than the one which lists it. The index
    learns whose the others are, where that is beyond doubt.
    """
    of_tasks = task_nodes(view)
    claims = Counter(full_id for ids in listed.values() for full_id in set(ids))
    others: dict[tuple[str, str], str] = {}
    for node_id, ids in listed.items():
        for full_id in ids:
            holder = _holder(index, view, listed if whole else {}, full_id, of_tasks)
            if holder not in ("", node_id):
                others[node_id, full_id] = holder
            elif holder or claims[full_id] == 1:
                index.put(full_id, node_id)
    return others


def _holder(
    index: ContainerIndex,
    view: View,
    whole_lists: Mapping[str, Collection[str]],
    full_id: str,
    of_tasks: Mapping[str, str],
) -> str:
    """Return the node that has a container; empty when that is not known. What is known no more is forgotten."""
    known = index.holder(full_id)
    if known is not None and (
        known.node_id not in view.nodes or full_id not in whole_lists.get(known.node_id, (full_id,))
    ):
        index.forget(full_id)
        known = None
    return known.node_id if known is not None else of_tasks.get(full_id, "")


def put_made(index: ContainerIndex, view: View, full_id: str, node_id: str, name: str = "") -> bool:
    """Remember what a node's engine has just made; False where what it says is another node's."""
    return task_nodes(view).get(full_id, node_id) == node_id and index.put(full_id, node_id, made=True, name=name)


def complaints(view: View, others: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Word, by node, that it lists what is others'."""
    return dict(_complaints(view, others))


def _complaints(view: View, others: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    counts = Counter(node_id for node_id, _ in others)
    for (node_id, full_id), holder in others.items():
        more = f", and {counts[node_id] - 1} more of others" if counts[node_id] > 1 else ""
        yield node_id, f"it lists container {full_id[:12]}, which is on node {node_name(view, holder)}{more}"


def disputed(view: View, reference: str, nodes: Collection[str], hint: str = "") -> EngineError:
    """Word that several nodes say they have one container."""
    names = ", ".join(sorted(node_name(view, node_id) for node_id in nodes))
    text = f"nodes {names} all say that container {reference} is theirs, and it can be on one only{hint}"
    return EngineError(409, text)

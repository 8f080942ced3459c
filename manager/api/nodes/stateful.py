"""Tasks that a drained node stops and nobody replaces, as their data is there."""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import FailedPrecondition
from common.model import Node
from common.spec.slot_volumes import slot_volumes
from manager.domain.volume_claims import data_node
from manager.store.view import View

_NAMED_AT_MOST = 10


def refuse_stateful(view: View, node: Node) -> None:
    """Refuse to drain a node while tasks run there whose data is there.

    Raises:
        FailedPrecondition: names them, and what may be done instead.

    """
    found = sorted(_stateful(view, node.id))
    if not found:
        return
    more = f" and {len(found) - _NAMED_AT_MOST} more" if len(found) > _NAMED_AT_MOST else ""
    raise FailedPrecondition(
        f"node {node.name} has the data of {', '.join(found[:_NAMED_AT_MOST])}{more}: with --move-volumes "
        "that moves to other nodes, with --stop-stateful these stop and wait until it is active again"
    )


def _stateful(view: View, node_id: str) -> Iterator[str]:
    for task in view.tasks.on_node(node_id):
        if task.live and data_node(task, view) == node_id:
            names = ", ".join(each.name for each in slot_volumes(task))
            yield f"{task.service_name}.{task.slot} ({names})"

"""Tasks that a drained node stops and nobody replaces, as their data is there."""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import FailedPrecondition
from common.model import Node
from common.spec.slot_volumes import slot_volumes
from manager.api.volumes.stay import some
from manager.domain.volume_claims import data_node, moves_with_drain
from manager.store.view import View


def refuse_stateful(view: View, node: Node) -> None:
    """Refuse to drain a node while tasks run there whose data is there.

    Raises:
        FailedPrecondition: names them, and what may be done instead.

    """
    if found := stateful(view, node):
        raise FailedPrecondition(
            f"node {node.name} has the data of {found}: with --move-volumes "
            "that moves to other nodes, with --stop-stateful these stop and wait until it is active again"
        )


def stateful(view: View, node: Node) -> str:
    """Name the slots whose tasks run on a node, and whose data is there; empty if there are none."""
    return some(sorted(_stateful(view, node.id)))


def _stateful(view: View, node_id: str) -> Iterator[str]:
    for task in view.tasks.on_node(node_id):
        service = view.services.get(task.service_id)
        if service is not None and moves_with_drain(service):
            continue  # its data goes first
        if task.live and data_node(task, view) == node_id:
            names = ", ".join(each.name for each in slot_volumes(task))
            yield f"{task.service_name}.{task.slot} ({names})"

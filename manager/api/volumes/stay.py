"""Which volumes stay when their users are removed, and which tasks a drain would stop as their data is on the node."""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import FailedPrecondition
from common.model import Node, Service
from common.model.volume import volume_id
from common.spec.slot_volumes import slot_volumes
from manager.domain.hostnames import node_name
from manager.domain.volume_claims import data_node, holders, holds, in_use, moves_with_drain
from manager.store.view import View

_NAMED_AT_MOST = 10


def staying(service: Service, view: View) -> str:
    """Say which named volumes a service leaves behind when it is removed; empty if it has none."""
    container = service.spec.task_template.container_spec
    names = {each.source for each in container.mounts if each.type == "volume"} if container is not None else set()
    places = {(copy.name, copy.node_id) for name in names if name for copy in view.volumes.named(name)}
    places |= {(each.volume, each.node_id) for each in view.volume_claims.of_service(service.name) if holds(each, view)}
    there = (place for place in places if not _is_missing(*place, view))
    found = sorted(f"{name} on {node_name(view, node_id)}" for name, node_id in there)
    return f"these volumes stay: {some(found)}" if found else ""


def only_copies(node: Node, view: View) -> str:
    """Name the volumes of a node that slots wait for wherever they are placed, as their data is there alone."""
    names = {each.volume for each in view.volume_claims.on_node(node.id) if holds(each, view) and in_use(each, view)}
    found = (
        f"{name} ({', '.join(holders(node.id, name, view))})"
        for name in sorted(names)
        if not _is_missing(name, node.id, view)
    )
    return some(list(found))


def _is_missing(name: str, node_id: str, view: View) -> bool:
    """Whether a host is known to have lost a volume."""
    copy = view.volumes.get(volume_id(node_id, name))
    return copy is not None and bool(copy.missing_since)


def some(found: list[str]) -> str:
    """Join names; of many, only the first ten and how many more there are."""
    more = f" and {len(found) - _NAMED_AT_MOST} more" if len(found) > _NAMED_AT_MOST else ""
    return ", ".join(found[:_NAMED_AT_MOST]) + more


def refuse_stateful(view: View, node: Node) -> None:
    """Refuse to drain a node while tasks run there whose data is there.

    Raises:
        FailedPrecondition: names them, and what may be done instead.

    """
    if found := stateful(view, node):
        raise FailedPrecondition(
            f"node {node.name} has the data of {found}: --move-volumes moves it to other nodes, --stop-stateful stops "
            "these tasks until the node is active again"
        )


def stateful(view: View, node: Node) -> str:
    """Name the slots whose tasks run on a node, and whose data is there; empty if there are none."""
    return some(sorted(_stateful(view, node.id)))


def _stateful(view: View, node_id: str) -> Iterator[str]:
    for task in view.tasks.on_node(node_id):
        service = view.services.get(task.service_id)
        if service is not None and moves_with_drain(service):
            continue  # its data is moved first
        if task.live and data_node(task, view) == node_id:
            names = ", ".join(each.name for each in slot_volumes(task))
            yield f"{task.service_name}.{task.slot} ({names})"

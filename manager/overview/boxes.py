"""The boxes of tasks that are shown of a node or a service. Pure.

A slot has one box, that of its newest task: earlier failures are a number. A node shows also what it has still to stop.
"""

from __future__ import annotations

from collections.abc import Iterator

from manager.overview.counters import Counters
from manager.overview.marks import Mark, mark_of
from manager.overview.rows import TaskBox, task_box
from manager.store.view import View


def boxes_of_node(node_id: str, counters: Counters, view: View) -> Iterator[TaskBox]:
    """Yield the boxes of a node; of one that is down, what was placed there is lost."""
    node = view.nodes.get(node_id)
    lost = node is not None and node.status.state == "down"
    for task in view.tasks.on_node(node_id):
        tally = counters.services.get(task.service_id)
        shown = tally.newest.get(task.slot or task.node_id) if tally is not None else None
        newest = shown is not None and shown.id == task.id and mark_of(task) is not Mark.STOPPED
        if newest or task.placed:
            yield task_box(task, lost=lost)


def boxes_of_service(service_id: str, counters: Counters, view: View) -> Iterator[TaskBox]:
    """Yield the boxes of a service's slots."""
    tally = counters.services.get(service_id)
    for task in tally.newest.values() if tally is not None else ():
        if mark_of(task) is not Mark.STOPPED:
            node = view.nodes.get(task.node_id)
            yield task_box(task, lost=node is not None and node.status.state == "down")


def waiting_boxes(counters: Counters) -> Iterator[TaskBox]:
    """Yield the boxes of the tasks that have no node."""
    for tally in counters.services.values():
        if Mark.WAITING in tally.marks:
            yield from (task_box(task) for task in tally.newest.values() if mark_of(task) is Mark.WAITING)

"""What workers say of their tasks, applied to the store: states only forward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from common.model import Task, TaskStatus
from common.wire.messages import TaskReport
from manager.dispatch.assignments import roles_of
from manager.state.observation import observe
from manager.state.transaction import Transaction
from manager.state.view import View


@dataclass(frozen=True, slots=True)
class NodeReports:
    """What may be believed of one `StatusReport` (`manager.dispatch.intake`), and the node that said it."""

    node_id: str
    tasks: tuple[TaskReport, ...]


def retells(view: View, reports: Iterable[TaskReport]) -> bool:
    """Whether any of these changes what other nodes know of a task that goes on as it was."""
    return any(_retells(view.tasks.get(report.task_id), report.status) for report in reports)


def _retells(task: Task | None, status: TaskStatus) -> bool:
    if task is None or status.state is not task.status.state:
        return False
    told = roles_of(task)
    return any(told) and told != roles_of(msgspec.structs.replace(task, status=status))


def apply_reports(tx: Transaction, batch: Sequence[NodeReports]) -> None:
    """Write the reports that are news."""
    for reports in batch:
        for report in reports.tasks:
            task = tx.tasks.get(report.task_id)
            if task is None or task.node_id != reports.node_id:
                continue  # its record went while the report was on its way
            changed = observe(task, report.status, tx.now)
            if changed is not None:
                tx.put(changed)
